"""Owners of records: what belongs to another key does not exist, for every method of the store."""

import sqlite3

import pytest

from turnwise.core.access import NOBODY, UNRESTRICTED, Principal
from turnwise.core.errors import HandoffConflict, NotFound
from turnwise.core.feedback import AnswerReference, NewFeedback
from turnwise.core.handoffs import HandoffRequest
from turnwise.core.messages import Message
from turnwise.core.stored_completions import StoredCompletion
from turnwise.core.stored_conversations import ConversationChanges
from turnwise.core.stored_responses import StoredResponse
from turnwise.store import open_store
from turnwise.store.sqlite import migrations

SECRET = "the secret of ada"
UNKNOWN = {
    "conversation": "conv_x",
    "message": "msg_x",
    "completion": "chatcmpl-x",
    "response": "resp_x",
    "handoff": "h_x",
    "answer": "msg_y",
    "feedback": "fb_x",
}


@pytest.fixture
def store():
    opened = open_store("sqlite:///:memory:")
    yield opened
    opened.close()


@pytest.fixture
def ids(store):
    """A record of every kind, of the key "ada"."""
    return add_records(store.for_principal(Principal("ada", "user")))


def add_records(own):
    id = own.create(title=SECRET, model="m").id
    (message,) = own.append(id, [Message("user", SECRET)])
    completion, response = "chatcmpl-1", "resp_1"
    own.completions.add(
        StoredCompletion(
            completion, 1, "m", ({"content": SECRET},), {}, {"choices": [{}]}, {"team": "a"}, consent="full"
        )
    )
    (answer,) = own.append(id, [Message("assistant", SECRET)], {"consent": "full"})
    feedback = own.feedback.add(AnswerReference("completion", completion), NewFeedback(correction=SECRET)).id
    own.responses.add(StoredResponse(response, 1, None, ({"text": SECRET},), {"output": []}))
    handoff = own.handoffs.open(HandoffRequest(id, summary=SECRET)).id
    return {
        "conversation": id, "message": message, "completion": completion, "response": response, "handoff": handoff,
        "answer": answer, "feedback": feedback,
    }  # fmt: skip


CUSTOMER_CALLS = {
    "get": lambda s, i: s.get(i["conversation"]),
    "list ids": lambda s, i: s.list_ids([i["conversation"]]),
    "list after": lambda s, i: s.list(after=i["conversation"]),
    "ensure_branch": lambda s, i: s.ensure_branch(i["conversation"], [Message("user", "x")]),
    "append": lambda s, i: s.append(i["conversation"], [Message("user", "x")]),
    "update_message": lambda s, i: s.update_message(i["message"], meta={"x": 1}),
    "select_branch": lambda s, i: s.select_branch(i["conversation"], i["message"]),
    "update": lambda s, i: s.update(i["conversation"], ConversationChanges(title="x")),
    "set generated title": lambda s, i: s.set_generated_title(i["conversation"], "x"),
    "copy": lambda s, i: s.fork(i["conversation"], i["message"], "x"),
    "delete": lambda s, i: s.delete(i["conversation"]),
    "say": lambda s, i: s.handoffs.say(i["conversation"], Message("assistant", "x"), {}, parent_id=None),
    "get completion": lambda s, i: s.completions.get(i["completion"]),
    "list completions after": lambda s, i: s.completions.list(
        limit=9, after=i["completion"], order="asc", model=None, metadata={}
    ),
    "update metadata": lambda s, i: s.completions.update_metadata(i["completion"], {}),
    "delete completion": lambda s, i: s.completions.delete(i["completion"]),
    "add feedback on a completion": lambda s, i: s.feedback.add(
        AnswerReference("completion", i["completion"]), NewFeedback(rating=1)
    ),
    "add feedback on a message": lambda s, i: s.feedback.add(
        AnswerReference("message", i["answer"]), NewFeedback(rating=1)
    ),
    "feedback on a completion": lambda s, i: s.feedback.of_completion(i["completion"]),
    "feedback on a message": lambda s, i: s.feedback.of_answer(AnswerReference("message", i["answer"])),
    "feedback on a conversation": lambda s, i: s.feedback.of_conversation(i["conversation"]),
    "list feedback after": lambda s, i: s.feedback.list(after=i["feedback"]),
    "delete feedback": lambda s, i: s.feedback.delete(i["feedback"]),
    "get response": lambda s, i: s.responses.get(i["response"]),
    "chain": lambda s, i: s.responses.chain(i["response"]),
    "delete response": lambda s, i: s.responses.delete(i["response"]),
    "open hand-off": lambda s, i: s.handoffs.open(HandoffRequest(i["conversation"])),
    "current hand-off": lambda s, i: s.handoffs.current(i["conversation"]),
    "revision of the current hand-off": lambda s, i: s.handoffs.current_revision(i["conversation"]),
    "receive": lambda s, i: s.handoffs.receive(i["conversation"], [Message("user", "x")]),
    "cancel": lambda s, i: s.handoffs.apply(i["handoff"], "cancel"),
}
AGENT_CALLS = {
    "get hand-off": lambda s, i: s.handoffs.get(i["handoff"]),
    "messages of a hand-off": lambda s, i: s.handoffs.messages(i["handoff"]),
    "revision of a hand-off": lambda s, i: s.handoffs.revision(i["handoff"]),
    "claim": lambda s, i: s.handoffs.apply(i["handoff"], "claim", claim="c", agent="Ana"),
    "send": lambda s, i: s.handoffs.send(i["handoff"], "c", "x"),
    "return": lambda s, i: s.handoffs.apply(i["handoff"], "return", claim="c"),
}


def refused(call, store, ids):
    """The error of a call, without the id."""
    with pytest.raises(NotFound) as raised:
        call(store, ids)
    return [str(raised.value).replace(id, "ID") for id in ids.values() if id in str(raised.value)]


def snapshot(store):
    with store._database.read_transaction() as connection:
        return list(connection.iterdump())


@pytest.mark.parametrize(
    "principal", [Principal("bob", "user"), Principal("bob", "agent"), NOBODY, Principal(None, "user")]
)
@pytest.mark.parametrize("name", [*CUSTOMER_CALLS, *AGENT_CALLS])
def test_a_record_of_another_owner_is_answered_as_a_missing_one(store, ids, principal, name):
    if principal.role == "agent" and name in AGENT_CALLS:
        return  # see below
    call, before = {**CUSTOMER_CALLS, **AGENT_CALLS}[name], snapshot(store)
    foreign, other = refused(call, store.for_principal(principal), ids), store.for_principal(principal)
    assert foreign == refused(call, other, UNKNOWN)
    assert len(foreign) == 1
    assert snapshot(store) == before, "nothing was changed"


@pytest.mark.parametrize("principal", [Principal("bob", "user"), Principal("bob", "agent"), NOBODY])
def test_lists_have_own_records_only(store, ids, principal):
    other = store.for_principal(principal)
    assert other.list() == other.list(query="secret") == []
    for metadata in ({}, {"team": "a"}):
        assert other.completions.list(limit=9, after=None, order="asc", model=None, metadata=metadata) == ([], False)
    assert other.feedback.list() == ([], False)
    assert list(other.collected_answers.answers()) == list(other.collected_answers.contributors()) == []
    assert bool(other.handoffs.list(["waiting"], limit=9)) == principal.answers_handoffs


@pytest.mark.parametrize("name", CUSTOMER_CALLS)
@pytest.mark.parametrize(
    "principal", [Principal("ada", "user"), Principal("ada", "agent"), Principal("boss", "admin"), UNRESTRICTED]
)
def test_the_owner_and_admins_reach_the_record(store, ids, principal, name):
    CUSTOMER_CALLS[name](store.for_principal(principal), ids)


def test_an_agent_answers_any_handoff_and_reads_its_conversation_only(store, ids):
    agent = store.for_principal(Principal("support", "agent"))
    for name in ("get hand-off", "revision of a hand-off", "claim", "send"):
        AGENT_CALLS[name](agent, ids)
    assert [entry.message.content for entry in agent.handoffs.messages(ids["handoff"])] == [SECRET, SECRET, "x"]
    assert agent.list() == []


def test_the_owner_cannot_answer_the_own_handoff(store, ids):
    own = store.for_principal(Principal("ada", "user"))
    assert own.handoffs.get(ids["handoff"]).request.summary == SECRET
    assert len(own.handoffs.list(["waiting"], limit=9)) == 1
    for name in ("claim", "send", "return"):
        with pytest.raises(NotFound):
            AGENT_CALLS[name](own, ids)
    with pytest.raises(HandoffConflict):
        AGENT_CALLS["send"](store, ids)


def test_a_new_key_of_an_old_name_has_its_records(store, ids):
    """So a key can be replaced: revoke it, and create one of the same name."""
    assert store.for_principal(Principal("ada", "user")).get(ids["conversation"]).title == SECRET


def test_records_without_an_owner_are_for_admins(store):
    ids = add_records(store)
    assert store.get(ids["conversation"]).owner is None
    assert store.for_principal(Principal("boss", "admin")).list()
    for role in ("user", "agent"):
        other = store.for_principal(Principal("ada", role))
        assert other.list() == []
        with pytest.raises(NotFound):
            other.get(ids["conversation"])


def test_the_response_of_an_admin_can_continue_one_of_another_owner(store, ids):
    admin = store.for_principal(Principal("boss", "admin"))
    admin.responses.add(StoredResponse("resp_next", 2, ids["response"], (), {"output": []}))
    assert [stored.id for stored in admin.responses.chain("resp_next")] == [ids["response"], "resp_next"]
    with pytest.raises(NotFound):
        store.for_principal(Principal("ada", "user")).responses.chain("resp_next")


def test_a_response_does_not_continue_one_of_another_owner(store, ids):
    bob = store.for_principal(Principal("bob", "user"))
    bob.responses.add(StoredResponse("resp_next", 2, ids["response"], (), {"output": []}))
    with pytest.raises(NotFound, match="which was deleted"):
        bob.responses.chain("resp_next")


# Files without owners


@pytest.fixture
def old_file(tmp_path, monkeypatch):
    """The path of a file of schema version 11, with tenants, and a function that fills it."""
    path = tmp_path / "chats.db"
    monkeypatch.setattr(migrations, "STEPS", migrations.STEPS[:11])
    connection = sqlite3.connect(path, isolation_level=None)
    migrations.migrate(connection, "here")
    monkeypatch.undo()

    def add(number, state_tenant, *handoff_tenants):
        connection.execute("INSERT INTO conversations VALUES (?, ?, 't', 'm', 1, 1, NULL)", (number, f"conv_{number}"))
        if state_tenant is not None:
            connection.execute(
                "INSERT INTO conversation_states VALUES (?, ?, ?, 1)", (number, state_tenant, '{"language": "en"}')
            )
        for index, tenant in enumerate(handoff_tenants):
            id = f"handoff_{number}_{index}"
            request = (
                f'{{"conversation_id": "conv_{number}", "tenant": "{tenant}", "reason": "requested", "summary": "",'
                ' "attempts": [], "language": "en", "notices": {}, "notice_meta": {}, "limits": {}}'
            )
            connection.execute(
                "INSERT INTO handoffs (id, conversation, tenant, request, created, changed, state, claim, agent,"
                " num_claims) VALUES (?, ?, ?, ?, 1, 1, 'closed', '', 'Ana', 1)",
                (id, number, tenant, request),
            )
            connection.execute(
                "INSERT INTO handoff_events (handoff, time, kind, agent)"
                " SELECT number, 1, 'open', '' FROM handoffs WHERE id = ?", (id,),
            )  # fmt: skip

    add.connection = connection
    yield f"sqlite:///{path}", add
    connection.close()


def test_a_conversation_gets_the_owner_that_its_state_or_handoffs_recorded(old_file):
    url, add = old_file
    expected = {1: None, 2: "ada", 3: "ada", 4: "ada", 5: None, 6: None, 7: "ada"}
    recorded = [(None,), ("ada",), (None, "ada"), ("ada", "ada", "ada"), ("ada", "bob"), ("", ""), ("", "ada")]
    for number, tenants in enumerate(recorded, 1):
        add(number, *tenants)
    store = open_store(url)
    assert {number: store.get(f"conv_{number}").owner for number in expected} == expected
    own = store.for_principal(Principal("ada", "user"))
    assert own.handoffs.current("conv_3").status.agent == "Ana"
    with pytest.raises(NotFound):
        own.get("conv_5")
    own.handoffs.open(HandoffRequest("conv_3"))
    store.close()


def test_old_responses_keep_their_owner_and_old_completions_have_none(old_file):
    url, add = old_file
    add.connection.executemany(
        "INSERT INTO responses (id, owner, created, input, body) VALUES (?, ?, 1, '[]', '{}')",
        [("resp_a", "ada"), ("resp_none", "")],
    )
    add.connection.execute(
        "INSERT INTO completions (id, created, model, messages, request, response, metadata)"
        " VALUES ('chatcmpl-a', 1, 'm', '[]', '{}', '{}', '{}')"
    )
    store = open_store(url)
    own, admin = store.for_principal(Principal("ada", "user")), store.for_principal(Principal("boss", "admin"))
    assert own.responses.get("resp_a") == admin.responses.get("resp_a")
    admin.responses.get("resp_none")
    admin.completions.get("chatcmpl-a")
    for attempt in (lambda: own.responses.get("resp_none"), lambda: own.completions.get("chatcmpl-a")):
        with pytest.raises(NotFound):
            attempt()
    store.close()
