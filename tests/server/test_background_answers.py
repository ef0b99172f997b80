"""Answers that go on without a client: attach, stop, limits, and the stop of the server."""

import asyncio
import json
import time

import httpx
import pytest

from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_response import ChatDelta
from turnwise.core.messages import Message
from turnwise.server.app import create_app
from turnwise.server.background_answers import BackgroundAnswers, _mark_interrupted
from turnwise.server.error_responses import RequestRejected
from turnwise.server.middleware.concurrency_limit import ConcurrencyLimiter, ServerLimits
from turnwise.server.request_context import RequestContext, bind_request
from turnwise.server.uvicorn_server import _DrainingServer, uvicorn_config
from turnwise.testing import ScriptedChatService, serve_in_thread

WORDS = [f"w{number} " for number in range(20)]
ID = {"x-request-id": "run-1"}


@pytest.fixture
def client(url):
    with httpx.Client(base_url=url, timeout=10) as created:
        yield created


@pytest.fixture
def conversation(client):
    return client.post("/v1/conversations", json={"title": "t"}).json()["id"]


def body(conversation, text="go", **fields):
    messages = [{"role": "user", "content": text}]
    return {"model": "latest", "messages": messages, "conversation_id": conversation, "stream": True,
            "background": True, **fields}  # fmt: skip


def leave_after_first_word(client, conversation, headers=ID):
    with client.stream("POST", "/v1/chat/completions", json=body(conversation), headers=headers) as response:
        assert response.status_code == 200
        next(line for line in response.iter_lines() if "w0" in line)


def streamed_text(response):
    chunks = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk.get("choices"))


def wait_until(condition):
    deadline = time.monotonic() + 8
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def answer_of(client, conversation):
    return client.get(f"/v1/conversations/{conversation}").json()["messages"][-1]


def test_an_answer_goes_on_after_its_client_is_gone(client, conversation, services, store):
    services["scripted"] = ScriptedChatService(WORDS, store=store, delay=0.02)
    leave_after_first_word(client, conversation)
    assert client.get(f"/v1/conversations/{conversation}").json()["running"] == [{"id": "run-1", "after": 1}]
    wait_until(lambda: not client.get(f"/v1/conversations/{conversation}").json()["running"])
    answer = answer_of(client, conversation)
    assert (answer["content"], answer["meta"]["finish"]) == ("".join(WORDS), "stop")
    assert services["scripted"].num_cancelled == 0


def test_a_client_attaches_from_the_beginning_to_the_end(client, conversation, services, store):
    services["scripted"] = ScriptedChatService(WORDS, store=store, delay=0.02)
    leave_after_first_word(client, conversation)
    path = f"/v1/conversations/{conversation}/answers/run-1"
    with client.stream("GET", path) as left_again:
        next(left_again.iter_lines())
    attached = client.get(path)
    assert attached.headers["content-type"].startswith("text/event-stream")
    assert streamed_text(attached) == "".join(WORDS)
    assert attached.text.endswith("data: [DONE]\n\n")
    assert client.get(path).status_code == 404, "it has ended"
    assert client.delete(path).status_code == 404


def test_stop_ends_the_answer_and_keeps_its_text(client, conversation, services, store):
    services["scripted"] = ScriptedChatService(["w0 "] * 1000, store=store, delay=0.02)
    leave_after_first_word(client, conversation)
    stopped = client.delete(f"/v1/conversations/{conversation}/answers/run-1")
    assert stopped.json() == {"id": "run-1", "object": "conversation.answer.stopped"}
    answer = answer_of(client, conversation)
    assert answer["content"].startswith("w0 ")
    assert answer["meta"]["finish"] == "cancelled"
    assert services["scripted"].num_cancelled == 1
    assert client.get(f"/v1/conversations/{conversation}").json()["running"] == []


def test_a_stopped_answer_ends_the_streams_of_others_with_an_error(client, conversation, services, store, url):
    services["scripted"] = ScriptedChatService(["w0 "] * 1000, store=store, delay=0.02)
    leave_after_first_word(client, conversation)
    path = f"/v1/conversations/{conversation}/answers/run-1"
    with client.stream("GET", path) as response:
        lines = response.iter_lines()
        next(line for line in lines if "w0" in line)
        httpx.delete(f"{url}{path}")
        assert any("answer_stopped" in line for line in lines)


def test_an_error_before_the_first_word_has_its_status(client, conversation, services, store):
    answer = client.post("/v1/chat/completions", json=body("conv_nowhere"))
    assert answer.status_code == 404
    services["scripted"] = ScriptedChatService(WORDS, store=store, fail_after=0)
    assert client.post("/v1/chat/completions", json=body(conversation)).status_code == 500
    assert client.get(f"/v1/conversations/{conversation}").json()["running"] == []


def test_deleting_a_conversation_stops_its_answers(client, conversation, services, store):
    services["scripted"] = ScriptedChatService(["w0 "] * 1000, store=store, delay=0.02)
    leave_after_first_word(client, conversation)
    client.delete(f"/v1/conversations/{conversation}")
    assert services["scripted"].num_cancelled == 1


@pytest.mark.parametrize("missing", ["stream", "conversation_id"])
def test_the_field_needs_a_stream_and_a_conversation(client, conversation, missing):
    answer = client.post("/v1/chat/completions", json=body(conversation, **{missing: None}))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "background")


def test_an_id_is_used_once_at_a_time(client, conversation, services, store):
    services["scripted"] = ScriptedChatService(["w0 "] * 1000, store=store, delay=0.02)
    leave_after_first_word(client, conversation)
    answer = client.post("/v1/chat/completions", json=body(conversation), headers=ID)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "background")
    client.delete(f"/v1/conversations/{conversation}/answers/run-1")


def test_an_answer_without_a_client_has_a_slot_and_a_time_limit(store):
    chat = ScriptedChatService(["w0 "] * 1000, store=store, delay=0.02)
    limits = ServerLimits(max_concurrent_requests=1, request_timeout=1.0)
    with (
        serve_in_thread(create_app({"s": chat}, default="s", limits=limits)) as url,
        httpx.Client(base_url=url, timeout=10) as client,
    ):
        conversation = client.post("/v1/conversations", json={}).json()["id"]
        leave_after_first_word(client, conversation)
        assert client.post("/v1/chat/completions", json=body(conversation)).json()["error"]["code"] == "server_busy"
        attached = client.get(f"/v1/conversations/{conversation}/answers/run-1")
        assert '"code":"timeout"' in attached.text
        assert answer_of(client, conversation)["content"].startswith("w0 ")
        with client.stream("POST", "/v1/chat/completions", json=body(conversation)) as response:
            assert response.status_code == 200, "the slot is free again"


def test_a_server_that_stops_keeps_what_exists_as_interrupted(store):
    chat = ScriptedChatService(["w0 "] * 1000, store=store, delay=0.01)
    app = create_app({"s": chat}, default="s")
    conversation = store.create(title="t", model="s").id

    async def stop_while_it_runs():
        config = uvicorn_config(app)
        config.host, config.port = "127.0.0.1", 0
        listening = asyncio.Event()
        server = _DrainingServer(config, app, 0.3, listening.set)
        serving = asyncio.create_task(server.serve())
        await asyncio.wait_for(listening.wait(), 5)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        async with httpx.AsyncClient(base_url=url) as client:
            async with client.stream("POST", "/v1/chat/completions", json=body(conversation)) as response:
                async for line in response.aiter_lines():
                    if "w0" in line:
                        break
            server.handle_exit(15, None)
            assert app.state.limiter.num_active == 1, "it drains"
            await serving

    asyncio.run(stop_while_it_runs())
    answer = store.get(conversation).messages[-1]
    assert answer.message.content.startswith("w0 w0 ")
    assert answer.meta["finish"] == "in_progress"


def test_an_answer_that_is_stopped_before_its_first_step_ends(store):
    released = []

    async def deltas():
        yield ChatDelta("never")

    async def stop_at_once():
        bind_request(context := RequestContext(id="run-1"))
        context.leases.callback(released.append, "lease")
        answers = BackgroundAnswers(ConcurrencyLimiter(ServerLimits()))
        request = ChatRequest(conversation_id="conv", generation_id="g")
        answer = answers.start(request, deltas(), lambda stream: None, store)
        await answers.cancel([answer])
        assert answers.running("conv") == []
        with pytest.raises(RequestRejected, match="was stopped"):
            await asyncio.wait_for(anext(answer.deltas()), 2)

    asyncio.run(stop_at_once())
    assert released == ["lease"]


def test_only_the_answer_that_the_stop_cut_off_counts_as_interrupted(store):
    id = store.create(title="t", model="m").id
    (question,) = store.append(id, [Message("user", "go")], {})
    for generation in ("stopped-by-the-user", "cut-off"):
        meta = {"finish": "cancelled", "generation": generation}
        store.append(id, [Message("assistant", "w0")], meta, parent_id=question)
    asyncio.run(_mark_interrupted(store, ChatRequest(conversation_id=id, generation_id="cut-off")))
    finishes = {stored.meta.get("generation"): stored.meta.get("finish") for stored in store.get(id).tree}
    assert (finishes["stopped-by-the-user"], finishes["cut-off"]) == ("cancelled", "in_progress")
