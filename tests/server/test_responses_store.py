"""Stored responses: continue, refer to, get and delete them, with access only for the key that created them."""

import httpx
import openai
import pydantic
import pytest
from openai.types.responses import ResponseItem

from turnwise.core.messages import Message, ToolCall
from turnwise.core.stored_responses import StoredResponse
from turnwise.server.app import create_app
from turnwise.store import open_store
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.testing import ScriptedChatService, serve_in_thread

ITEM = pydantic.TypeAdapter(ResponseItem)
CALL = ToolCall("call_1", "weather", '{"city": "Rome"}')
TOOLS = [{"type": "function", "name": "weather"}]
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}


@pytest.fixture
def client(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0) as made:
        yield made


def test_a_conversation_continues_by_the_id_of_its_last_response(client, services, store):
    chat = services["scripted"] = ScriptedChatService(
        lambda chat_request: [f"Answer {len(chat_request.messages)}"], store=store
    )
    first = client.responses.create(model="scripted", input="One", instructions="Be kind.")
    second = client.responses.create(model="scripted", input="Two", previous_response_id=first.id)
    third = client.responses.create(model="scripted", input="Three", previous_response_id=second.id)
    branch = client.responses.create(model="scripted", input="Another", previous_response_id=first.id)
    assert chat.requests[2].messages == (
        Message("user", "One"), Message("assistant", "Answer 2"), Message("user", "Two"),
        Message("assistant", "Answer 3"), Message("user", "Three"),
    )  # fmt: skip
    assert chat.requests[3].messages[2:] == (Message("user", "Another"),)
    assert (third.previous_response_id, branch.previous_response_id) == (second.id, first.id)


@pytest.mark.parametrize("streamed", [False, True])
def test_tool_outputs_answer_the_previous_response(client, services, store, streamed):
    chat = services["scripted"] = ScriptedChatService(["Let me see.", CALL], store=store)
    if streamed:
        events = client.responses.create(model="scripted", input="Weather?", tools=TOOLS, stream=True)
        first = list(events)[-1].response
    else:
        first = client.responses.create(model="scripted", input="Weather?", tools=TOOLS)
    client.responses.create(model="scripted", input=[OUTPUT], previous_response_id=first.id, tools=TOOLS)
    assert chat.requests[-1].messages == (
        Message("user", "Weather?"), Message("assistant", "Let me see.", tool_calls=(CALL,)),
        Message("tool", "sunny", tool_call_id="call_1"),
    )  # fmt: skip
    with pytest.raises(openai.BadRequestError, match="call_1") as error:
        client.responses.create(model="scripted", input="Well?", previous_response_id=first.id)
    assert error.value.param == "input"


def test_items_can_be_referenced_by_their_ids(client, services, store):
    """The Vercel AI SDK does this by default."""
    chat = services["scripted"] = ScriptedChatService(["Let me see.", CALL], store=store)
    first = client.responses.create(model="scripted", input="Weather?", tools=TOOLS)
    [input_item] = client.responses.input_items.list(first.id)
    references = [{"type": "item_reference", "id": input_item.id}, *({"id": item.id} for item in first.output)]
    client.responses.create(model="scripted", input=[*references, OUTPUT], tools=TOOLS)
    assert [message.role for message in chat.requests[-1].messages] == ["user", "assistant", "tool"]
    assert chat.requests[-1].messages[1] == Message("assistant", "Let me see.", tool_calls=(CALL,))
    for id in ("msg_0123abcd_0", "nonsense", first.output[0].id + "0"):
        with pytest.raises(openai.BadRequestError) as error:
            client.responses.create(model="scripted", input=[{"type": "item_reference", "id": id}])
        assert error.value.param == "input[0].id"


def test_a_stored_response_equals_the_one_that_was_sent(client):
    sent = client.responses.create(model="scripted", input="Hi", metadata={"a": "b"})
    assert client.responses.retrieve(sent.id).to_dict() == sent.to_dict()
    streamed = list(client.responses.create(model="scripted", input="Hi", stream=True))[-1].response
    assert (
        client.responses.retrieve(streamed.id, include=["message.output_text.logprobs"]).to_dict() == streamed.to_dict()
    )
    for query, param in (
        ("stream=true", "stream"),
        ("starting_after=3", "starting_after"),
        ("include[]=x", "include[0]"),
    ):
        response = httpx.get(f"{client.base_url}responses/{sent.id}?{query}")
        assert (response.status_code, response.json()["error"]["param"]) == (400, param)


def test_input_items_are_listed_newest_first_in_pages(client):
    texts = [{"role": "user", "content": str(number)} for number in range(5)]
    made = client.responses.create(model="scripted", input=[*texts, {"role": "assistant", "content": "a"}])
    raw = httpx.get(f"{client.base_url}responses/{made.id}/input_items").json()
    for item in raw["data"]:
        ITEM.validate_python(item)
    assert raw["object"] == "list"
    assert raw["first_id"] == raw["data"][0]["id"]

    def listed(**more):
        return [item.content[0].text for item in client.responses.input_items.list(made.id, **more)]

    assert listed() == ["a", "4", "3", "2", "1", "0"]
    assert listed(order="asc", limit=2) == ["0", "1", "2", "3", "4", "a"], "the client asks for all pages"


def test_a_response_that_is_not_stored_is_not_found(client):
    made = client.responses.create(model="scripted", input="Hi", store=False)
    assert made.to_dict()["store"] is False
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)
    with pytest.raises(openai.BadRequestError) as error:
        client.responses.create(model="scripted", input="Hi", previous_response_id=made.id)
    assert (error.value.param, error.value.code) == ("previous_response_id", "previous_response_not_found")


def test_a_deleted_response_is_not_found_and_cannot_be_continued(client):
    first = client.responses.create(model="scripted", input="One")
    second = client.responses.create(model="scripted", input="Two", previous_response_id=first.id)
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.delete(first.id)
    with pytest.raises(openai.BadRequestError, match="deleted"):
        client.responses.create(model="scripted", input="Three", previous_response_id=second.id)


def test_a_response_fails_if_it_cannot_be_stored(client, store):
    """No response is sent as completed before it is stored."""
    store.close()
    *events, last = client.responses.create(model="scripted", input="Hi", stream=True)
    assert last.type == "response.failed"
    assert "could not be saved" in last.response.error.message
    assert last.response.completed_at is None
    assert "response.completed" not in [event.type for event in events]
    assert [event.sequence_number for event in (*events, last)] == list(range(len(events) + 1))
    with pytest.raises(openai.InternalServerError, match="could not be saved"):
        client.responses.create(model="scripted", input="Hi")


def test_cancelling_a_response_is_rejected(client):
    made = client.responses.create(model="scripted", input="Hi")
    with pytest.raises(openai.BadRequestError, match="background"):
        client.responses.cancel(made.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.cancel("resp_none")


def test_a_server_without_a_store_rejects_fields_that_need_one(services, url, client):
    services["scripted"] = ScriptedChatService()
    assert client.responses.create(model="scripted", input="Hi").to_dict()["store"] is False
    for fields in ({"store": True}, {"previous_response_id": "resp_1"}):
        with pytest.raises(openai.BadRequestError) as error:
            client.responses.create(model="scripted", input="Hi", **fields)
        assert error.value.param in fields


def test_stored_responses_survive_a_restart(tmp_path):
    made = [StoredResponse(f"resp_{i}", i, f"resp_{i - 1}" if i else None, ({"id": f"in{i}"},), {"output": []})
            for i in range(3)]  # fmt: skip
    store = open_store(f"sqlite:///{tmp_path / 'kept.db'}")
    for response in made:
        store.responses.add(response)
    store.close()
    store = open_store(f"sqlite:///{tmp_path / 'kept.db'}")
    assert store.responses.chain("resp_2") == tuple(made)
    assert store.responses.get("resp_1") == made[1]
    store.close()


def test_a_response_is_visible_only_to_the_key_that_created_it(tmp_path, store):
    keys = SqliteKeyStore(tmp_path / "keys.db")
    with serve_in_thread(
        create_app({"scripted": ScriptedChatService(store=store)}, default="scripted", keys=keys)
    ) as url:
        ada, bob = (
            openai.OpenAI(base_url=f"{url}/v1", api_key=keys.create(name), max_retries=0) for name in ("ada", "bob")
        )
        made = ada.responses.create(model="scripted", input="Secret")
        for attempt in (
            bob.responses.retrieve,
            bob.responses.delete,
            bob.responses.input_items.list,
            bob.responses.cancel,
        ):
            with pytest.raises(openai.NotFoundError):
                attempt(made.id)
        stolen = {"previous_response_id": made.id}, {"input": [{"type": "item_reference", "id": made.output[0].id}]}
        for fields in stolen:
            with pytest.raises(openai.BadRequestError):
                bob.responses.create(**{"model": "scripted", "input": "x"} | fields)
        assert ada.responses.create(model="scripted", input="x", previous_response_id=made.id).status == "completed"
        ada.close()
        bob.close()
