"""The states of a hand-off, and the events that change them: pure functions of a status and a time.

::

    waiting ──claim──▶ claimed ──return──▶ returned     a person gives the conversation back to the model
       ▲                │  │ └────close───▶ closed       the matter is settled
       └──lose_claim────┘  │
    waiting, claimed ──────┴──cancel──────▶ cancelled    the customer goes on with the model
    waiting, claimed ─────────time_out────▶ timed_out    nobody answered in time

In `claimed` a person speaks, and only with the claim. In all states without an arrow to the right the model speaks.
Every open hand-off ends by itself: a claim is a lease, and `answer_by` is set for as long as the customer waits. The
times of events and deadlines are those of a clock that can be set: `clamp_deadlines` and `extend_deadlines` mend them.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

from turnwise.core.errors import HandoffConflict

HandoffState = Literal["waiting", "claimed", "returned", "closed", "cancelled", "timed_out"]
HandoffEventKind = Literal[
    "claim", "renew", "agent_message", "customer_message", "service_message", "return", "close", "cancel", "lose_claim",
    "time_out",
]  # fmt: skip
Speaker = Literal["model", "person", "nobody"]

HANDOFF_STATES: tuple[HandoffState, ...] = get_args(HandoffState)
OPEN_STATES: tuple[HandoffState, ...] = ("waiting", "claimed")
_FINAL_STATES: dict[HandoffEventKind, HandoffState] = {
    "return": "returned", "close": "closed", "cancel": "cancelled", "time_out": "timed_out",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class HandoffLimits:
    """Times in seconds.

    Attributes:
        lease: a claim that is not renewed for this long is lost.
        wait: time until the first claim of a hand-off, and after a lost claim.
        answer: time that a claim, or a message of the customer, leaves for the next message of the person.
        max_claims: claims without a message that prolong the wait; further ones do not.
    """

    lease: float = 45.0
    wait: float = 300.0
    answer: float = 300.0
    max_claims: int = 3

    @property
    def longest_silence(self) -> float:
        """Upper bound of the time between a message of the customer and an answer, or the end of the hand-off."""
        return self.wait + self.answer * (self.max_claims + 1)


@dataclass(frozen=True, slots=True)
class HandoffStatus:
    """Who speaks in a conversation with a hand-off.

    Attributes:
        state: the state.
        claim: secret of the person who speaks; empty without a claim.
        agent: name of that person, or of the last one who spoke.
        lease_until: Unix time at which the claim is lost; None without a claim.
        answer_by: Unix time at which the hand-off times out; None if the customer waits for nothing.
        num_claims: claims since the last message of a person.
    """

    state: HandoffState
    claim: str = ""
    agent: str = ""
    lease_until: float | None = None
    answer_by: float | None = None
    num_claims: int = 0

    @property
    def is_open(self) -> bool:
        """True if the model is silent."""
        return self.state in OPEN_STATES

    @property
    def speaker(self) -> Speaker:
        """Who may speak to the customer."""
        if self.state == "claimed":
            return "person"
        return "nobody" if self.state == "waiting" else "model"

    @property
    def due(self) -> float | None:
        """Unix time of the next event that happens by itself; None if there is none."""
        if not self.is_open:
            return None
        return min((time for time in (self.lease_until, self.answer_by) if time is not None), default=None)


@dataclass(frozen=True, slots=True)
class HandoffEvent:
    """Something that happened to a hand-off.

    Attributes:
        kind: what happened.
        time: Unix time in seconds.
        claim: secret of the person who acts; empty for other events.
        agent: name of that person, for "claim".
    """

    kind: HandoffEventKind
    time: float
    claim: str = ""
    agent: str = ""


def open_status(now: float, limits: HandoffLimits) -> HandoffStatus:
    """The status of a new hand-off."""
    return HandoffStatus("waiting", answer_by=now + limits.wait)


def due_events(status: HandoffStatus, now: float, limits: HandoffLimits) -> tuple[HandoffEvent, ...]:
    """Events that have happened by themselves up to `now`, in order: lost claims and the end of the wait."""
    events: list[HandoffEvent] = []
    while (due := status.due) is not None and due <= now:
        is_lease = status.answer_by is None or (
            status.lease_until is not None and status.lease_until < status.answer_by
        )
        events.append(HandoffEvent("lose_claim" if is_lease else "time_out", due))
        status = apply_event(status, events[-1], limits)
    return tuple(events)


def clamp_deadlines(status: HandoffStatus, now: float, limits: HandoffLimits) -> HandoffStatus:
    """The status with deadlines that a clock at `now` can have set. Changes it only if the clock was set back.

    Otherwise a customer would wait for as much longer as the clock was set back.
    """
    longest_wait = max(limits.wait, limits.answer)
    return replace(
        status,
        lease_until=None if status.lease_until is None else min(status.lease_until, now + limits.lease),
        answer_by=None if status.answer_by is None else min(status.answer_by, now + longest_wait),
    )


def extend_deadlines(status: HandoffStatus, now: float, limits: HandoffLimits) -> HandoffStatus:
    """The status with the complete times again, for a clock that was set forward: nobody waited for so long."""
    longest_wait = max(limits.wait, limits.answer)
    return replace(
        status,
        lease_until=None if status.lease_until is None else now + limits.lease,
        answer_by=None if status.answer_by is None else now + longest_wait,
    )


def apply_event(status: HandoffStatus, event: HandoffEvent, limits: HandoffLimits) -> HandoffStatus:
    """The status after an event. Apply `due_events` first.

    Raises:
        HandoffConflict: the event is not possible in this state, or somebody else has the claim.
    """
    kind, now = event.kind, event.time
    if not status.is_open:
        raise HandoffConflict(f"The hand-off has ended ({status.state}); the model answers again.")
    if kind == "claim":
        return _claim(status, event, limits)
    if kind in ("renew", "agent_message", "return", "close"):
        _check_claim(status, event)
    if kind == "renew":
        return replace(status, lease_until=now + limits.lease)
    if kind == "agent_message":
        return replace(status, lease_until=now + limits.lease, answer_by=None, num_claims=0)
    if kind == "customer_message":
        return replace(status, answer_by=now + limits.answer if status.answer_by is None else status.answer_by)
    if kind == "service_message":  # the service speaks for itself: the customer still waits for the person
        return status
    if kind == "lose_claim":
        answer_by = now + limits.wait if status.answer_by is None else status.answer_by
        return replace(status, state="waiting", claim="", lease_until=None, answer_by=answer_by)
    return replace(status, state=_FINAL_STATES[kind], claim="", lease_until=None, answer_by=None)


def _claim(status: HandoffStatus, event: HandoffEvent, limits: HandoffLimits) -> HandoffStatus:
    lease_until = event.time + limits.lease
    if status.state == "claimed":
        if status.claim != event.claim:
            raise HandoffConflict(f"{status.agent} is speaking with this customer.")
        return replace(status, lease_until=lease_until)
    answer_by = status.answer_by
    if answer_by is not None and status.num_claims < limits.max_claims:
        answer_by = max(answer_by, event.time + limits.answer)
    return HandoffStatus("claimed", event.claim, event.agent, lease_until, answer_by, status.num_claims + 1)


def _check_claim(status: HandoffStatus, event: HandoffEvent) -> None:
    if status.state == "waiting":
        raise HandoffConflict("The claim was lost, because it was not renewed in time. Claim the hand-off again.")
    if status.claim != event.claim:
        raise HandoffConflict(f"{status.agent} is speaking with this customer.")
