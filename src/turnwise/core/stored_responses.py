"""Stored responses (`/v1/responses`) and the port that stores them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response as it was sent, with the input that it answers.

    Attributes:
        id: the id that the client knows it by.
        owner: name of the API key that made it; empty where no key was needed.
        created: seconds since 1970.
        previous_id: the response that it continues.
        input: its own input items in the published form, each with an id. The items of earlier responses are not
            among them.
        body: the whole response in its published form.
    """

    id: str
    owner: str
    created: int
    previous_id: str | None
    input: tuple[Mapping[str, Any], ...]
    body: Mapping[str, Any]


class ResponseStore(Protocol):
    """Stores responses. A response of another owner does not exist for the caller.

    Every method that changes something returns only once the change is safe on disk.
    """

    def add(self, response: StoredResponse) -> None:
        """Store a response."""

    def get(self, id: str, owner: str) -> StoredResponse:
        """One response. Raises `NotFound`."""

    def chain(self, id: str, owner: str) -> tuple[StoredResponse, ...]:
        """A response and all that it continues, oldest first. Raises `NotFound` where one of them was deleted."""

    def delete(self, id: str, owner: str) -> None:
        """Delete a response. Raises `NotFound`."""
