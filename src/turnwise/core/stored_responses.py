"""Stored responses (`/v1/responses`) and the port that stores them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from turnwise.core.collected_answers import Consent


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A stored response with its input.

    Attributes:
        id: id of the response.
        created: Unix time in seconds.
        previous_id: id of the previous response.
        input: input items of this response in OpenAI's format, each with an id. Items of previous responses are not
            included.
        body: response body in OpenAI's format.
        user: the person within the API key, as the client named them.
        consent: what may be collected; None: it was stored before consent was asked for.
    """

    id: str
    created: int
    previous_id: str | None
    input: tuple[Mapping[str, Any], ...]
    body: Mapping[str, Any]
    user: str | None = None
    consent: Consent | None = None


class ResponseStore(Protocol):
    """Stores responses. A method that writes returns after the change is synced to disk.

    The store is part of a `ConversationStore` and has its principal, to whom responses of other owners do not exist.
    """

    def add(self, response: StoredResponse) -> None:
        """Store a response."""

    def get(self, id: str) -> StoredResponse:
        """A response. Raises `NotFound`."""

    def chain(self, id: str) -> tuple[StoredResponse, ...]:
        """A response and all previous ones, oldest first. Raises `NotFound` if one of them was deleted."""

    def delete(self, id: str) -> None:
        """Delete a response. Raises `NotFound`."""
