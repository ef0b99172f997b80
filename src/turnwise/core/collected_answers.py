"""Answers that people rated, corrected or replaced: the records, and the port of their reader.

Consent decides what is collected, per API key and per request, and the stricter of both holds:

| consent | stored for improvement |
| --- | --- |
| off | nothing; no feedback is accepted |
| metadata | ratings, tags and counts, without any text |
| full | also the conversation, corrections and comments, for training and evaluation |
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from turnwise.core.messages import Message

Consent = Literal["off", "metadata", "full"]
CONSENTS: tuple[Consent, ...] = get_args(Consent)  # from the strictest
PreferenceOrigin = Literal["correction", "edit", "regeneration", "comparison"]

LOCAL_CONTRIBUTOR = "local"  # id of a person at a server without API keys who is not identified


def stricter_consent(first: Consent, second: Consent) -> Consent:
    """The stricter of two consents."""
    return min(first, second, key=CONSENTS.index)


def contributor_id(owner: str | None, user: str | None) -> str:
    """Id of a person: the API key, and within it the user that the client names.

    Args:
        owner: name of the API key; None: no key was needed.
        user: `user` or `safety_identifier` of the request or the feedback.
    """
    key = LOCAL_CONTRIBUTOR if owner is None else f"key:{owner}"
    return key if user is None else f"{key}/user:{user}"


@dataclass(frozen=True, slots=True)
class Rating:
    """A rating of an answer.

    Attributes:
        contributor: id of the person (`contributor_id`).
        value: 1: good, -1: bad.
        created: Unix time in seconds.
        tags: reasons, such as "wrong" or "too_long".
    """

    contributor: str
    value: int
    created: float
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PreferredAnswer:
    """A better answer to the same messages.

    Attributes:
        contributor: id of the person.
        answer: the better answer.
        created: Unix time in seconds.
        origin: how it was collected. A correction and an edit were written by the person; with "regeneration" the
            person asked for another answer and went on with it; with "comparison" the person chose between two.
    """

    contributor: str
    answer: Message
    created: float
    origin: PreferenceOrigin


@dataclass(frozen=True, slots=True)
class CollectedAnswer:
    """An answer of a model with its feedback. Its text is present only with the consent "full".

    Attributes:
        id: id of the stored message or choice, such as "message:ID" or "completion:ID:0".
        created: Unix time of the answer, in seconds.
        contributor: id of the person who asked.
        model: served model name.
        weights_sha256: digest of the weights that answered; empty if it was not recorded.
        history: the messages before.
        answer: the answer.
        ratings: ratings, oldest first; the last one of each person counts.
        preferred: better answers, oldest first.
        authors: ids of the people who wrote the messages before, if the client named them.
        conversation: what identifies the conversation; answers of one are not independent. Empty if it is not known.
    """

    id: str
    created: float
    contributor: str
    model: str
    weights_sha256: str
    history: tuple[Message, ...]
    answer: Message
    ratings: tuple[Rating, ...] = ()
    preferred: tuple[PreferredAnswer, ...] = ()
    authors: frozenset[str] = frozenset()
    conversation: str = ""

    @property
    def contributors(self) -> frozenset[str]:
        """Ids of everybody whose words or opinions it holds: who asked, wrote before, rated or corrected."""
        raters = {rating.contributor for rating in self.ratings}
        return self.authors | {self.contributor} | raters | {entry.contributor for entry in self.preferred}


class CollectedAnswerReader(Protocol):
    """Reads answers with feedback. Part of a `ConversationStore`, with its principal."""

    def answers(self, model: str | None = None, *, since: float = 0.0) -> Iterator[CollectedAnswer]:
        """Answers with the consent "full" that have a rating or a better answer, oldest first.

        Args:
            model: served model name; None: of all models.
            since: only answers with feedback that was given after this Unix time.
        """

    def count(self, model: str | None = None, *, since: float = 0.0) -> int:
        """Number of such answers."""

    def contributors(self) -> Sequence[str]:
        """Ids of all people of whom something is stored."""
