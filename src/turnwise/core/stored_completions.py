"""Stored completions and the store's port."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from turnwise.core.collected_answers import Consent

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
        response: response body in OpenAI's format.
        metadata: up to 16 key-value pairs of the client.
        user: the person within the API key, as the client named them.
        consent: what may be collected; None: it was stored before consent was asked for.
        version: version of the model that answered, such as "turnwise-assistant@3"; empty if it was not recorded.
        weights_sha256: digest of the weights that answered; empty if it was not recorded.
        is_routed: False if the request named the version.
    """

    id: str
    created: int
    model: str
    messages: tuple[Mapping[str, Any], ...]
    request: Mapping[str, Any]
    response: Mapping[str, Any]
    metadata: Mapping[str, str]
    user: str | None = None
    consent: Consent | None = None
    version: str = ""
    weights_sha256: str = ""
    is_routed: bool = True


class CompletionStore(Protocol):
    """Stores completions. A method that writes returns after the change is synced to disk.

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
