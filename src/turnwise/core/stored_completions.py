"""Completions that are kept, what people thought of them, and the port that keeps them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

SortOrder = Literal["asc", "desc"]


@dataclass(frozen=True, slots=True)
class StoredCompletion:
    """A completion as it was sent.

    Attributes:
        id: the id that its answer carried.
        created: in seconds since 1970.
        model: the served name.
        messages: the request's messages, as they came.
        request: its other fields.
        response: the whole answer in its published shape.
        metadata: up to sixteen pairs of strings, the client's own.
    """

    id: str
    created: int
    model: str
    messages: tuple[Mapping[str, Any], ...]
    request: Mapping[str, Any]
    response: Mapping[str, Any]
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Feedback:
    """What somebody thought of one answer.

    Attributes:
        id: its own.
        completion_id: the completion it is about.
        index: which of its answers.
        created: in seconds since 1970.
        rating: 1 for good, -1 for bad.
        correction: what the answer should have been.
        comment: anything else.
        user: who says so, as the client calls them.
    """

    id: str
    completion_id: str
    index: int
    created: float
    rating: int | None
    correction: str | None
    comment: str | None
    user: str | None


class CompletionStore(Protocol):
    """Keeps completions and feedback. Every method that changes something returns only once it is safe on disk."""

    def add(self, completion: StoredCompletion) -> None:
        """Add a completion."""

    def get(self, id: str) -> StoredCompletion:
        """One completion. Raises `NotFound`."""

    def list(
        self, *, limit: int, after: str | None, order: SortOrder, model: str | None, metadata: Mapping[str, str]
    ) -> tuple[list[StoredCompletion], bool]:
        """Completions by time, those after the one with the id `after`, and whether there are more.

        Args:
            limit: most to return.
            after: where the page before ended. Raises `NotFound` where it does not exist.
            order: oldest first ("asc") or newest first.
            model: only those of this model.
            metadata: only those that carry all these pairs.
        """

    def update_metadata(self, id: str, metadata: Mapping[str, str]) -> StoredCompletion:
        """Give it other metadata. Raises `NotFound`."""

    def delete(self, id: str) -> None:
        """Forget it and what was thought of it. Raises `NotFound`."""

    def add_feedback(
        self,
        id: str,
        *,
        index: int,
        rating: int | None,
        correction: str | None,
        comment: str | None,
        user: str | None,
    ) -> Feedback:
        """Add feedback on one of its answers. Raises `NotFound`."""

    def list_feedback(self, id: str) -> tuple[Feedback, ...]:
        """All feedback on a completion, oldest first. Raises `NotFound`."""
