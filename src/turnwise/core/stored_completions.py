"""Stored completions, feedback on them, and the store's port."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

SortOrder = Literal["asc", "desc"]


@dataclass(frozen=True, slots=True)
class StoredCompletion:
    """A stored chat completion.

    Attributes:
        id: id of the completion.
        created: Unix time in seconds.
        model: served model name.
        messages: messages of the request, unchanged.
        request: other fields of the request.
        response: response body in OpenAI's format; if the model has versions, also the "version" that answered, such as
            "turnwise-assistant@3", and the digest of its "weights" (`core.served_versions.AnsweringVersion.meta`).
        metadata: up to 16 key-value pairs of the client.
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
    """Feedback on one choice of a completion.

    Attributes:
        id: id of the feedback.
        completion_id: id of the completion.
        index: index of the choice.
        created: Unix time in seconds.
        rating: 1: good, -1: bad, None: not rated.
        correction: better text for the choice.
        comment: free text.
        user: id of the rating user, set by the client.
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
    """Stores completions and feedback. A method that writes returns after the change is synced to disk.

    The store is part of a `ConversationStore` and has its principal, to whom completions of other owners do not exist.
    """

    def add(self, completion: StoredCompletion) -> None:
        """Store a completion."""

    def get(self, id: str) -> StoredCompletion:
        """A completion. Raises `NotFound`."""

    def list(
        self, *, limit: int, after: str | None, order: SortOrder, model: str | None, metadata: Mapping[str, str]
    ) -> tuple[list[StoredCompletion], bool]:
        """A page of completions in order of time. The second value is True if there are more.

        Args:
            limit: maximum number of completions.
            after: id of the last completion of the previous page. Raises `NotFound`.
            order: "asc": oldest first, "desc": newest first.
            model: return only completions of this model.
            metadata: return only completions with all of these pairs.
        """

    def update_metadata(self, id: str, metadata: Mapping[str, str]) -> StoredCompletion:
        """Replace the metadata. Raises `NotFound`."""

    def delete(self, id: str) -> None:
        """Delete a completion and its feedback. Raises `NotFound`."""

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
        """Store feedback on one choice. Raises `NotFound`."""

    def list_feedback(self, id: str) -> tuple[Feedback, ...]:
        """All feedback on a completion, oldest first. Raises `NotFound`."""
