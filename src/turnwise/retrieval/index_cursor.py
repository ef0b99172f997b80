"""How far a derived index has followed the store."""

import json
from dataclasses import asdict, dataclass

from turnwise.core.errors import TurnwiseError
from turnwise.core.knowledge import StorePosition


class IndexDamaged(TurnwiseError):
    """A derived index cannot be used: it is damaged, of another version, or of another store. It has to be rebuilt."""


@dataclass(frozen=True, slots=True)
class IndexCursor:
    """What an index contains.

    Attributes:
        base: id of the store; empty before the first update.
        last_passage: all visible passages up to this id were added.
        last_deletion: all deletions up to this number were applied.
        version: version of the index's content, such as of the division into terms.
    """

    base: str = ""
    last_passage: int = 0
    last_deletion: int = 0
    version: int = 0

    def follows(self, position: StorePosition) -> bool:
        """Whether the store is the one that was indexed. An older copy of it, such as a backup, is not."""
        return not self.base or (
            self.base == position.base
            and self.last_passage <= position.last_passage
            and self.last_deletion <= position.last_deletion
        )

    def has_missed(self, position: StorePosition) -> bool:
        """Whether the log of the store no longer has all deletions that were not applied."""
        return bool(self.base) and self.last_deletion < position.last_pruned_deletion

    def is_at(self, position: StorePosition) -> bool:
        """Whether nothing is missing."""
        return (self.base, self.last_passage, self.last_deletion) == (
            position.base, position.last_passage, position.last_deletion
        )  # fmt: skip

    def to_json(self) -> str:
        """The cursor as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "IndexCursor":
        """The cursor of `to_json`. Raises `IndexDamaged` for other texts."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise IndexDamaged("The position of the index cannot be read.") from error
