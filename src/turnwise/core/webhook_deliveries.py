"""Events of the text monitor that are sent to webhooks, and the state of their delivery."""

from dataclasses import dataclass
from typing import Literal

DeliveryState = Literal["pending", "delivered", "dead"]
LONGEST_RETRY_SECONDS = 3 * 3600.0  # between two attempts to deliver an event


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """An event to deliver. A second event with the same id and URL is ignored.

    Attributes:
        id: unique id; receivers recognise repeated deliveries by it.
        url: receiver.
        body: JSON text.
        created: Unix time in seconds.
    """

    id: str
    url: str
    body: str
    created: float


@dataclass(frozen=True, slots=True)
class Delivery:
    """A stored event and its delivery.

    Attributes:
        number: key of the store.
        event: the event.
        state: "pending", "delivered" or "dead" (given up).
        attempts: number of attempts.
        first_attempt: Unix time of the first attempt since it was added or sent again; None before.
        next_attempt: Unix time from which the next attempt is due.
        error: reason of the last failure; empty if there is none.
    """

    number: int
    event: WebhookEvent
    state: DeliveryState
    attempts: int
    first_attempt: float | None
    next_attempt: float
    error: str
