"""People whose data is exported or erased, and the ports that do it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from turnwise.core.collected_answers import contributor_id

if TYPE_CHECKING:
    from turnwise.core.stored_conversations import ConversationStore


@dataclass(frozen=True, slots=True)
class DataSubject:
    """A person, or all people of an API key.

    Attributes:
        owner: name of the API key; None: what was stored without a key.
        user: the person within the key, as the client named them; None: everybody.
    """

    owner: str | None
    user: str | None = None

    @property
    def id(self) -> str:
        """The contributor id of the person."""
        return contributor_id(self.owner, self.user)

    def includes(self, contributor: str) -> bool:
        """True if a contributor id is one of this subject."""
        return contributor == self.id or (self.user is None and contributor.startswith(f"{self.id}/user:"))


class PersonalDataStore(Protocol):
    """What a `ConversationStore` has of people. Every method can be interrupted and repeated."""

    def owners_of(self, user: str) -> Sequence[str | None]:
        """API keys in which a user has stored something; None stands for no key."""

    def export(self, subject: DataSubject) -> Mapping[str, Any]:
        """Everything that is stored of a subject, as JSON by kind; kinds without entries are left out."""

    def erase(self, subject: DataSubject) -> Mapping[str, int]:
        """Delete everything that is stored of a subject, in small transactions. Returns numbers by kind.

        A conversation in which a user has written is deleted with all its messages, and with its folder if that is
        empty then.
        """

    def delete_older(self, time: float) -> Mapping[str, int]:
        """Delete what has not changed since a Unix time, in small transactions. Returns numbers by kind.

        Of folders, those that are older and empty are deleted.
        """

    def remove_traces(self, *, shrink: bool = True) -> None:
        """Remove deleted texts from the files of the store.

        Args:
            shrink: also return unused space to the file system, which takes longer.

        Raises:
            Unavailable: another process is using the file.
        """


class Eraser(Protocol):
    """Exports and erases texts of people, or data made from them. Modules of `app/erasers/` implement it.

    `erase` leaves no byte of the texts in its files, and can be interrupted at any point. Repeated, it completes what
    is missing, also if there are no records left.

    Attributes:
        ORDER: erasers with lower numbers run first. The conversation store is last, so that the others can read it.
    """

    ORDER: int

    def export(self, subject: DataSubject, store: "ConversationStore") -> Any:
        """What is kept of a subject, as JSON; empty if there is nothing, or nothing that is not exported elsewhere."""

    def erase(self, subject: DataSubject, store: "ConversationStore") -> Mapping[str, int]:
        """Erase it. Returns the numbers of what was deleted, by plural noun."""
