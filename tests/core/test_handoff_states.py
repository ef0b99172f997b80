"""The state machine of hand-offs: never two speakers, never silence for ever, whatever the order of events."""

import random

import pytest

from turnwise.core.errors import HandoffConflict
from turnwise.core.handoff_states import (
    HANDOFF_STATES,
    HandoffEvent,
    HandoffLimits,
    HandoffStatus,
    apply_event,
    due_events,
    open_status,
)

LIMITS = HandoffLimits(lease=45, wait=300, answer=200, max_claims=3)
AGENTS = ("ana", "bo", "cy")
AGENT_EVENTS = ("claim", "renew", "agent_message", "return", "close")
CUSTOMER_EVENTS = ("customer_message", "cancel")


def after(*events, status=None, start=0.0):
    """The status after events, each a (kind, time) or (kind, time, claim); due events are applied before each."""
    status = status or open_status(start, LIMITS)
    for kind, time, *claim in events:
        status = advance(status, time)
        status = apply_event(status, HandoffEvent(kind, time, *claim, *claim), LIMITS)
    return status


def advance(status, time):
    for event in due_events(status, time, LIMITS):
        status = apply_event(status, event, LIMITS)
    return status


def test_a_new_handoff_waits_and_nobody_speaks():
    status = open_status(10.0, LIMITS)
    assert (status.state, status.speaker, status.answer_by) == ("waiting", "nobody", 310.0)


def test_a_claim_lets_one_person_speak():
    status = after(("claim", 5, "ana"))
    assert (status.state, status.speaker, status.agent) == ("claimed", "person", "ana")
    for kind in AGENT_EVENTS:
        with pytest.raises(HandoffConflict, match="ana is speaking"):
            apply_event(status, HandoffEvent(kind, 6, "bo", "bo"), LIMITS)


def test_two_people_of_the_same_name_are_told_apart_by_their_claims():
    status = apply_event(open_status(0, LIMITS), HandoffEvent("claim", 1, "secret 1", "Ana"), LIMITS)
    with pytest.raises(HandoffConflict):
        apply_event(status, HandoffEvent("agent_message", 2, "secret 2", "Ana"), LIMITS)


@pytest.mark.parametrize(("kind", "state"), [("return", "returned"), ("close", "closed"), ("cancel", "cancelled")])
def test_a_handoff_that_ends_gives_the_conversation_back_to_the_model(kind, state):
    status = after(("claim", 5, "ana"), (kind, 6, "ana"))
    assert (status.state, status.speaker, status.due) == (state, "model", None)
    for other in (*AGENT_EVENTS, *CUSTOMER_EVENTS):
        with pytest.raises(HandoffConflict, match="has ended"):
            apply_event(status, HandoffEvent(other, 7, "ana", "ana"), LIMITS)


def test_a_claim_that_is_not_renewed_is_lost_and_somebody_else_can_claim():
    assert advance(after(("claim", 5, "ana")), 49.9).state == "claimed"
    status = advance(after(("claim", 5, "ana")), 50.0)
    assert (status.state, status.claim) == ("waiting", "")
    with pytest.raises(HandoffConflict, match="claim was lost"):
        apply_event(status, HandoffEvent("agent_message", 51, "ana"), LIMITS)
    assert after(("claim", 51, "bo"), status=status).agent == "bo"


def test_renewals_and_messages_keep_the_claim():
    status = after(("claim", 0, "ana"), ("renew", 40, "ana"), ("agent_message", 80, "ana"))
    assert advance(status, 124).state == "claimed"


def test_a_person_who_stays_but_does_not_answer_loses_the_conversation():
    status = after(("claim", 10, "ana"))
    for time in range(40, 310, 30):
        status = after(("renew", time, "ana"), status=status)
    status = advance(status, 310)
    assert (status.state, status.speaker) == ("timed_out", "model")


def test_a_customer_who_waits_for_nothing_does_not_end_the_handoff():
    status = after(("claim", 0, "ana"), ("agent_message", 10, "ana"))
    for time in range(40, 5000, 40):
        status = after(("renew", time, "ana"), status=status)
    assert status.state == "claimed"


def test_the_wait_begins_with_the_first_message_without_an_answer():
    status = after(
        ("claim", 0, "ana"), ("agent_message", 10, "ana"), ("customer_message", 20), ("customer_message", 50)
    )
    assert status.answer_by == 220


def test_after_a_lost_claim_the_customer_waits_at_most_as_long_as_at_first():
    status = advance(after(("claim", 0, "ana"), ("agent_message", 10, "ana")), 56)
    assert (status.state, status.answer_by) == ("waiting", 55 + LIMITS.wait)


def test_claims_without_a_message_prolong_the_wait_a_limited_number_of_times():
    status, time = open_status(0, LIMITS), 0.0
    while status.is_open:
        assert time < LIMITS.longest_silence
        if status.state == "waiting":
            status = apply_event(status, HandoffEvent("claim", time, f"{time}"), LIMITS)
        time += 50
        status = advance(status, time)
    assert status.state == "timed_out"


@pytest.mark.costly
def test_ten_thousand_random_orders_have_one_speaker_and_end():
    seen = set()
    for seed in range(10_000):
        seen |= simulate(random.Random(seed))
    assert seen == set(HANDOFF_STATES), "the simulation reaches every state"


def simulate(rng):
    """One random order of events. Returns the states that occurred."""
    time, status, states = 0.0, open_status(0.0, LIMITS), {"waiting"}
    unanswered_since = 0.0
    for _ in range(rng.randrange(1, 25)):
        time += rng.choice([0, 1, 20, 44, 45, 46, 150, 299, 300])
        status = advance(status, time)
        states.add(status.state)
        assert_one_speaker(status, time)
        if status.is_open and unanswered_since is not None:
            assert time - unanswered_since < LIMITS.longest_silence, "the customer got no answer, and nobody gave up"
        kind = rng.choice([*AGENT_EVENTS, "claim", "agent_message", "customer_message", "cancel"] if rng.random() < 0.3
                          else [*AGENT_EVENTS[:3], "customer_message"])  # fmt: skip
        agent = "" if kind in CUSTOMER_EVENTS else rng.choice(AGENTS)
        before = status
        try:
            status = apply_event(status, HandoffEvent(kind, time, agent, agent), LIMITS)
        except HandoffConflict:
            assert status == before
            continue
        if kind == "agent_message":
            assert before.claim == agent, "only the person with the claim speaks"
            unanswered_since = None
        elif kind == "customer_message" and unanswered_since is None:
            unanswered_since = time
        if not status.is_open:
            unanswered_since = None
        states.add(status.state)
    assert_ends_by_itself(status, time)
    return states


def assert_one_speaker(status: HandoffStatus, time):
    """Of the three people and the model, at most one can speak."""
    speakers = [agent for agent in AGENTS if can_speak(status, agent, time)]
    if not status.is_open:
        speakers.append("model")
    assert len(speakers) <= 1
    assert bool(speakers) == (status.speaker != "nobody")


def can_speak(status, agent, time):
    try:
        apply_event(status, HandoffEvent("agent_message", time, agent), LIMITS)
    except HandoffConflict:
        return False
    return True


def assert_ends_by_itself(status, time):
    """If everybody leaves after a last message of the customer, the model answers again."""
    if status.is_open:
        status = apply_event(status, HandoffEvent("customer_message", time), LIMITS)
        assert advance(status, time + LIMITS.longest_silence).speaker == "model"
