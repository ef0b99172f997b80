"""Hand-offs in the store: transitions with their messages, random orders, and processes that are killed."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from functools import partial

import pytest

from stepped_clock import SteppedClock
from turnwise.core.errors import HandoffConflict, NotFound
from turnwise.core.handoff_states import HandoffEvent, HandoffLimits, apply_event, due_events, open_status
from turnwise.core.handoffs import HandoffRequest
from turnwise.core.messages import Message
from turnwise.store import open_store

NOTICES = {
    "claim": "{agent} is here.", "return": "The assistant answers again.", "close": "Good bye.",
    "time_out": "Nobody is free.",
}  # fmt: skip
LIMITS = HandoffLimits(lease=45, wait=300, answer=200)


@pytest.fixture
def store(tmp_path, clock):
    opened = open_store(f"sqlite:///{tmp_path / 'chats.db'}")
    opened._clock = clock.wall_clock()
    yield opened
    opened.close()


@pytest.fixture
def clock():
    return SteppedClock()


@pytest.fixture
def handoffs(store):
    return store.handoffs


@pytest.fixture
def request_(store):
    """A hand-off of a conversation with one message."""
    id = store.create(title="t", model="m").id
    store.append(id, [Message("user", "Help!")])
    return HandoffRequest(id, "requested", "about help", ("knowledge",), "en", NOTICES, limits=LIMITS)


def texts(store, id):
    return [entry.message.content for entry in store.get(id).messages]


def test_a_handoff_has_what_the_person_needs_to_know(handoffs, request_):
    opened = handoffs.open(request_)
    assert opened.request == request_
    assert (opened.state, opened.created, opened.status.answer_by) == ("waiting", 1000, 1300)
    assert handoffs.get(opened.id) == handoffs.current(request_.conversation_id) == opened
    assert handoffs.list(["waiting"], limit=10) == [opened]
    assert handoffs.list(["claimed", "closed"], limit=10) == []


def test_a_conversation_has_at_most_one_open_handoff(handoffs, request_):
    opened = handoffs.open(request_)
    assert handoffs.open(replace(request_, reason="again")) == opened
    handoffs.apply(opened.id, "cancel")
    second = handoffs.open(request_)
    assert second.id != opened.id
    assert handoffs.current(request_.conversation_id) == second


def test_a_person_and_the_customer_write_into_the_conversation(store, handoffs, request_):
    id = handoffs.open(request_).id
    handoffs.apply(id, "claim", claim="c1", agent="Ana")
    handoffs.send(id, "c1", "Hello, I am a person.")
    handoffs.receive(request_.conversation_id, [Message("user", "Great.")])
    handoffs.apply(id, "return", claim="c1")
    conversation = store.get(request_.conversation_id)
    assert [entry.message.content for entry in conversation.messages] == [
        "Help!", "Ana is here.", "Hello, I am a person.", "Great.", "The assistant answers again.",
    ]  # fmt: skip
    metas = [dict(entry.meta) for entry in conversation.messages]
    assert metas[1] == {"notice": "claim", "handoff": id}
    assert metas[2] == {"person": "Ana", "handoff": id}
    assert metas[3] == {"handoff": id}
    assert metas[4] == {"notice": "return", "handoff": id}
    assert handoffs.receive(request_.conversation_id, [Message("user", "And now?")]) is None
    assert len(texts(store, request_.conversation_id)) == 5, "the model answers again, and stores the message"


def test_a_sentence_of_the_service_is_an_event_while_a_handoff_is_open(store, handoffs, request_):
    (first,) = store.append(request_.conversation_id, [Message("user", "Hello?")])
    line = Message("assistant", "Call 112.")
    say = partial(handoffs.say, request_.conversation_id, line, {"a": 1}, parent_id=first)
    assert say() == store.get(request_.conversation_id).head != first
    opened = handoffs.open(request_)
    assert say() == store.get(request_.conversation_id).head
    said = handoffs.get(opened.id)
    assert (said.id, said.status) == (opened.id, opened.status)
    assert said.revision > opened.revision
    messages = store.get(request_.conversation_id).messages
    assert [entry.meta for entry in messages if entry.message.content == "Call 112."] == [
        {"a": 1}, {"a": 1, "handoff": opened.id},
    ]  # fmt: skip
    handoffs.apply(opened.id, "cancel")
    said_last = say()
    assert store.get(request_.conversation_id).messages[-1].id == said_last
    assert store.get(request_.conversation_id).messages[-1].parent_id == first
    with pytest.raises(NotFound):
        handoffs.say("conv_x", line, {}, parent_id=None)


def test_nothing_is_written_by_a_person_without_the_claim(store, handoffs, request_):
    id = handoffs.open(request_).id
    with pytest.raises(HandoffConflict):
        handoffs.send(id, "c1", "too early")
    handoffs.apply(id, "claim", claim="c1", agent="Ana")
    with pytest.raises(HandoffConflict, match="Ana is speaking"):
        handoffs.apply(id, "claim", claim="c2", agent="Bo")
    with pytest.raises(HandoffConflict):
        handoffs.send(id, "c2", "not mine")
    assert texts(store, request_.conversation_id) == ["Help!", "Ana is here."]


def test_a_lost_claim_is_stored_when_anybody_looks(handoffs, request_, clock):
    id = handoffs.open(request_).id
    handoffs.apply(id, "claim", claim="c1", agent="Ana")
    clock.pass_time(46)
    assert handoffs.list(["waiting"], limit=10)[0].id == id
    with pytest.raises(HandoffConflict, match="claim was lost"):
        handoffs.send(id, "c1", "too late")
    assert handoffs.apply(id, "claim", claim="c2", agent="Bo").status.agent == "Bo"


def test_a_wait_that_ends_is_a_sentence_in_the_conversation(store, handoffs, request_, clock):
    id = handoffs.open(request_).id
    clock.pass_time(300)
    assert handoffs.receive(request_.conversation_id, [Message("user", "Hello?")]) is None
    assert handoffs.get(id).state == "timed_out"
    assert texts(store, request_.conversation_id) == ["Help!", "Nobody is free."]
    handoffs.get(id)
    assert texts(store, request_.conversation_id) == ["Help!", "Nobody is free."], "it is said once"


def test_every_event_but_a_renewal_is_a_new_revision(handoffs, request_):
    id = handoffs.open(request_).id
    revisions = [handoffs.revision()]
    for kind in ("claim", "renew", "return"):
        handoffs.apply(id, kind, claim="c1", agent="Ana")
        revisions.append(handoffs.revision())
    assert revisions[0] < revisions[1] == revisions[2] < revisions[3] == handoffs.get(id).revision
    assert revisions[3] == handoffs.revision(id) == handoffs.current_revision(request_.conversation_id)


def test_a_conversation_without_a_handoff_has_the_revision_0(store, handoffs, request_):
    assert handoffs.current_revision(request_.conversation_id) == 0
    ended = handoffs.open(request_)
    handoffs.apply(ended.id, "cancel")
    second = handoffs.open(request_)
    assert handoffs.current_revision(request_.conversation_id) == second.revision > handoffs.revision(ended.id)


def test_a_deleted_conversation_takes_its_handoffs_along(store, handoffs, request_):
    id = handoffs.open(request_).id
    store.delete(request_.conversation_id)
    with pytest.raises(NotFound):
        handoffs.get(id)
    assert handoffs.list(["waiting"], limit=10) == []
    with closing(sqlite3.connect(store._database._path)) as connection:
        for table in ("handoffs", "handoff_events"):
            assert connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone() == (0,)


def test_unknown_handoffs_are_not_found(handoffs):
    for attempt in (
        lambda: handoffs.get("handoff_x"),
        lambda: handoffs.messages("handoff_x"),
        lambda: handoffs.revision("handoff_x"),
        lambda: handoffs.current_revision("conv_x"),
        lambda: handoffs.apply("handoff_x", "cancel"),
        lambda: handoffs.send("handoff_x", "c", "text"),
        lambda: handoffs.open(HandoffRequest("conv_x")),
        lambda: handoffs.current("conv_x"),
    ):
        with pytest.raises(NotFound):
            attempt()


@pytest.mark.parametrize("seed", range(20))
def test_random_orders_give_the_states_of_the_pure_state_machine(store, handoffs, request_, clock, seed):
    rng = random.Random(seed)
    id, model = handoffs.open(request_).id, open_status(1000, LIMITS)
    for _ in range(15):
        clock.pass_time(rng.choice([1, 20, 45, 120]))
        for event in due_events(model, clock.now, LIMITS):
            model = apply_event(model, event, LIMITS)
        kind = rng.choice(["claim", "claim", "renew", "agent_message", "customer_message", "return", "cancel"])
        claim = rng.choice(["c1", "c2"])
        try:
            model, possible = apply_event(model, HandoffEvent(kind, clock.now, claim, f"name {claim}"), LIMITS), True
        except HandoffConflict:
            possible = False
        try:
            if kind == "agent_message":
                handoffs.send(id, claim, "text")
            elif kind == "customer_message":
                assert (handoffs.receive(request_.conversation_id, [Message("user", "text")]) is not None) == (possible)
            else:
                handoffs.apply(id, kind, claim=claim, agent=f"name {claim}")
            assert possible or kind == "customer_message"
        except HandoffConflict:
            assert not possible
        assert handoffs.get(id).status == model


WRITER = """
import random, sys
from contextlib import suppress
from turnwise.core.errors import HandoffConflict
from turnwise.core.handoffs import HandoffRequest
from turnwise.core.messages import Message
from turnwise.store import open_store
store, seed, conversation = open_store(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
rng, notices = random.Random(seed), {"claim": "{agent} is here.", "return": "Back.", "close": "Bye."}
while True:
    print("round", flush=True)
    id = store.handoffs.open(HandoffRequest(conversation, notices=notices)).id
    try:
        store.handoffs.apply(id, "claim", claim=str(seed), agent=str(seed))
        store.handoffs.send(id, str(seed), "text")
        store.handoffs.receive(conversation, [Message("user", "text")])
        store.handoffs.apply(id, rng.choice(["return", "close", "cancel"]), claim=str(seed))
    except HandoffConflict:
        with suppress(HandoffConflict):
            store.handoffs.apply(id, "cancel")
"""


def test_killed_processes_leave_a_log_that_leads_to_the_stored_state(tmp_path):
    """Two writers on one conversation are killed with SIGKILL: every row is the result of its logged events."""
    url, rng = f"sqlite:///{tmp_path / 'chats.db'}", random.Random(0)
    store = open_store(url)
    conversation = store.create(title="t", model="m").id
    store.close()
    for seed in range(3):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, url, str(10 * seed + number), conversation], stdout=subprocess.PIPE
            )
            for number in range(2)
        ]
        for writer in writers:
            for _ in range(3):
                assert writer.stdout.readline() == b"round\n"
        time.sleep(rng.uniform(0.0, 0.05))
        for writer in writers:
            os.kill(writer.pid, signal.SIGKILL)
            writer.wait()
            writer.stdout.close()
        assert_log_matches(tmp_path / "chats.db")
    store = open_store(url)
    handoff = store.handoffs.current(conversation)
    if handoff.is_open:  # the queue works on: the customer can leave it
        assert store.handoffs.apply(handoff.id, "cancel").state == "cancelled"
    store.close()


def assert_log_matches(path):
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = connection.execute("SELECT number, id, created, state, agent FROM handoffs").fetchall()
        assert len(rows) > 1
        assert sum(row[3] in ("waiting", "claimed") for row in rows) <= 1
        notices = 0
        for number, id, created, state, agent in rows:
            events = connection.execute(
                "SELECT kind, time, agent FROM handoff_events WHERE handoff = ? ORDER BY number", (number,)
            ).fetchall()
            status = open_status(created, HandoffLimits())
            assert events[0] == ("open", created, "")
            for kind, moment, _ in events[1:]:
                actor = next((name for name_kind, _, name in events if name_kind == "claim"), "")
                status = apply_event(status, HandoffEvent(kind, moment, actor, actor), HandoffLimits())
            assert (status.state, status.agent) == (state, agent)
            sent = connection.execute(
                "SELECT json_extract(meta, '$.notice'), json_extract(meta, '$.person') FROM messages"
                " WHERE json_extract(meta, '$.handoff') = ?", (id,),
            ).fetchall()  # fmt: skip
            kinds = [kind for kind, *_ in events]
            for kind in ("claim", "return", "close"):
                assert sum(notice == kind for notice, _ in sent) == kinds.count(kind)
                notices += kinds.count(kind)
            assert sum(person is not None for _, person in sent) == kinds.count("agent_message")
        assert notices > 0
