"""Hand-offs while the clock of the machine is set: nobody waits longer than promised, and nobody is sent away early."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepped_clock import SteppedClock
from turnwise.core.errors import HandoffConflict
from turnwise.core.handoff_states import HandoffLimits
from turnwise.core.handoffs import HandoffRequest
from turnwise.core.messages import Message
from turnwise.store import open_store

LIMITS = HandoffLimits(lease=45, wait=300, answer=200)
HOUR, YEAR = 3600, 365 * 24 * 3600


@pytest.fixture
def clock():
    return SteppedClock()


@pytest.fixture
def store(clock):
    opened = open_store("sqlite:///:memory:")
    opened._clock = clock.wall_clock()
    yield opened
    opened.close()


@pytest.fixture
def handoffs(store):
    return store.handoffs


@pytest.fixture
def request_(store):
    id = store.create(title="t", model="m").id
    store.append(id, [Message("user", "Help!")])
    return HandoffRequest(id, limits=LIMITS)


def claim(handoffs, id):
    return handoffs.apply(id, "claim", claim="c1", agent="Ana")


@pytest.mark.parametrize("step", [1, HOUR, YEAR])
def test_a_customer_waits_no_longer_because_the_clock_was_set_back(handoffs, request_, clock, step):
    id = handoffs.open(request_).id
    clock.set(clock.now - step)
    assert handoffs.get(id).status.answer_by <= clock.now + 300
    clock.pass_time(299)
    assert handoffs.get(id).state == "waiting"
    clock.pass_time(1)
    assert handoffs.get(id).state == "timed_out"


def test_a_claim_is_lost_in_time_although_the_clock_was_set_back(handoffs, request_, clock):
    id = handoffs.open(request_).id
    claim(handoffs, id)
    handoffs.send(id, "c1", "Hello")
    clock.set(clock.now - HOUR)
    assert handoffs.get(id).status.lease_until == clock.now + 45
    clock.pass_time(45)
    assert handoffs.get(id).state == "waiting"


def test_a_claim_of_a_clock_that_was_set_back_lasts_as_long_as_any(handoffs, request_, clock):
    opened = handoffs.open(request_)
    clock.set(500)
    claimed = claim(handoffs, opened.id)
    assert claimed.status.lease_until == 545
    assert claimed.changed == opened.changed == 1000, "times of events do not decrease"
    clock.pass_time(44)
    assert handoffs.apply(opened.id, "renew", claim="c1").status.lease_until == 589


def test_the_log_keeps_its_order_when_the_clock_is_set_back(store, handoffs, request_, clock):
    id = handoffs.open(request_).id
    for step, event in ((-HOUR, "claim"), (-YEAR, "return")):
        clock.set(clock.now + step)
        handoffs.apply(id, event, claim="c1", agent="Ana")
    clock.set(clock.now - HOUR)
    handoffs.open(request_)
    with store._database.read_transaction() as connection:
        times = [time for (time,) in connection.execute("SELECT time FROM handoff_events ORDER BY number")]
    assert times == sorted(times)


@pytest.mark.parametrize("step", [10, HOUR, YEAR])
def test_nobody_is_sent_away_because_the_clock_was_set_forward(handoffs, request_, clock, step):
    id = handoffs.open(request_).id
    clock.pass_time(100)
    clock.set(clock.now + step)
    assert (handoffs.get(id).state, handoffs.get(id).status.answer_by) == ("waiting", clock.now + 300)
    claim(handoffs, id)
    handoffs.send(id, "c1", "Hello")
    clock.set(clock.now + step)
    assert handoffs.send(id, "c1", "Are you there?").status.lease_until == clock.now + 45
    clock.pass_time(45)
    assert handoffs.get(id).state == "waiting", "the claim is lost as always"


def test_every_process_of_a_store_can_be_the_first_that_notices(tmp_path, clock):
    url = f"sqlite:///{tmp_path / 'chats.db'}"
    stores = [open_store(url) for _ in range(2)]
    for store in stores:
        store._clock = clock.wall_clock()
    id = stores[0].handoffs.open(HandoffRequest(stores[0].create(title="", model="m").id, limits=LIMITS)).id
    clock.set(clock.now + HOUR)
    for store in stores:
        assert store.handoffs.get(id).status.answer_by == clock.now + 300
    clock.pass_time(300)
    assert [store.handoffs.get(id).state for store in stores] == ["timed_out"] * 2
    for store in stores:
        store.close()


def test_time_that_passes_is_no_step(handoffs, request_, clock):
    id = handoffs.open(request_).id
    clock.pass_time(YEAR)
    assert handoffs.get(id).state == "timed_out"


ACTIONS = st.one_of(
    st.tuples(st.just("pass"), st.sampled_from([1, 20, 44, 46, 150, 299])),
    st.tuples(st.just("set"), st.sampled_from([-YEAR, -HOUR, -7, 7, HOUR, YEAR])),
    st.tuples(st.sampled_from(["claim", "renew", "send", "receive"]), st.just(0)),
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(ACTIONS, max_size=25))
def test_whatever_is_done_to_the_clock_the_customer_gets_an_answer_or_the_model(actions):
    """The time that really passes between two answers has a bound, and no set clock shortens a wait to nothing."""
    clock, store = SteppedClock(), open_store("sqlite:///:memory:")
    store._clock = clock.wall_clock()
    conversation = store.create(title="", model="m").id
    handoffs = store.handoffs
    id = handoffs.open(HandoffRequest(conversation, limits=LIMITS)).id
    num_steps = waited = 0
    for kind, seconds in actions:
        before = handoffs.get(id)
        try:
            if kind == "pass":
                clock.pass_time(seconds)
                waited += seconds
            elif kind == "set":
                clock.set(clock.now + seconds)
                num_steps += 1
                assert handoffs.get(id).state == before.state, "no time has passed"
            elif kind == "send":
                handoffs.send(id, "c1", "text")
                waited = num_steps = 0
            elif kind == "receive":
                handoffs.receive(conversation, [Message("user", "text")])
            else:
                handoffs.apply(id, kind, claim="c1", agent="Ana")
        except HandoffConflict:
            pass
        after = handoffs.get(id)
        assert after.changed >= before.changed
        if not after.is_open:
            break
        if after.status.answer_by is None:
            waited = num_steps = 0  # the customer waits for nothing
        assert waited < LIMITS.longest_silence + num_steps * LIMITS.wait
    clock.pass_time(LIMITS.lease + LIMITS.longest_silence)
    assert not handoffs.get(id).is_open
    store.close()
