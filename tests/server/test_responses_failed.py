"""Streams of responses that a time limit or the end of the server stops. They end with the published event."""

import asyncio
import json

import httpx
import openai
import pydantic
import pytest
from openai.types.responses import ResponseStreamEvent

from turnwise.core.errors import ContextLengthExceeded, Unavailable
from turnwise.server.app import create_app
from turnwise.server.middleware.concurrency_limit import ServerLimits
from turnwise.testing import ScriptedChatService, serve_in_thread

EVENT = pydantic.TypeAdapter(ResponseStreamEvent)
BODY = {"model": "scripted", "input": "Hello"}


def endless(chat_request):
    while True:
        yield "word "


def events(url):
    """Return the events of a stream over a real socket, validated with their published types."""
    answer = httpx.post(f"{url}/v1/responses", json={**BODY, "stream": True}, timeout=20)
    assert answer.status_code == 200
    stream_events = []
    for block in answer.text.removesuffix("\n\n").split("\n\n"):
        if block.startswith(":"):
            continue  # a keep-alive comment
        name, data = block.split("\n")
        stream_events.append(json.loads(data.removeprefix("data: ")))
        EVENT.validate_python(stream_events[-1])
        assert name == f"event: {stream_events[-1]['type']}"
    assert [event["sequence_number"] for event in stream_events] == list(range(len(stream_events)))
    return stream_events


def assert_failed(stream_events, text):
    failed, response = stream_events[-1], stream_events[-1]["response"]
    assert [event["type"] for event in stream_events].count("response.failed") == 1
    assert (failed["type"], response["status"], response["completed_at"]) == ("response.failed", "failed", None)
    assert response["error"]["code"] == "server_error"
    assert text in response["error"]["message"]
    [item] = response["output"]
    assert item["status"] == "incomplete"
    written = "".join(event["delta"] for event in stream_events if event["type"] == "response.output_text.delta")
    assert item["content"][0]["text"] == written != ""


def test_a_stream_over_the_time_limit_fails():
    chat = ScriptedChatService(endless, delay=0.02)
    app = create_app({"scripted": chat}, default="scripted", limits=ServerLimits(request_timeout=0.3))
    with serve_in_thread(app) as url:
        assert_failed(events(url), "took longer than the 0.3 seconds")
        assert (chat.num_cancelled, app.state.limiter.num_active) == (1, 0)
        with openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0) as client:
            *_, last = client.responses.create(**BODY, stream=True)
            assert (last.type, last.response.error.code) == ("response.failed", "server_error")
            with client.responses.stream(**BODY) as stream:
                assert [event.type for event in stream][-1] == "response.failed"
        response = httpx.post(f"{url}/v1/responses", json=BODY)
        assert (response.status_code, response.json()["error"]["code"]) == (408, "timeout"), (
            "without a stream: its status"
        )


def test_a_stream_fails_if_the_server_stops():
    def stopped(chat_request):
        yield "One "
        app.state.limiter.stop()
        yield from endless(chat_request)

    app = create_app({"scripted": ScriptedChatService(stopped, delay=0.02)}, default="scripted")
    with serve_in_thread(app) as url:
        assert_failed(events(url), "The server is stopping")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ContextLengthExceeded.for_prompt(10, 20, 0, "messages"), "invalid_prompt"),
        (Unavailable("Busy."), "server_error"),
        (RuntimeError("secret"), "server_error"),
    ],
    ids=["input", "unavailable", "unexpected"],
)
def test_a_failure_has_a_published_code(error, code):
    """If the first token takes longer than the keep-alive interval, errors are sent in the stream."""
    chat = ScriptedChatService(endless, delay=0.2, fail_after=1, failure=error)
    with serve_in_thread(create_app({"scripted": chat}, default="scripted", sse_keep_alive=0.05)) as url:
        stream_events = events(url)
    assert stream_events[-1]["response"]["error"]["code"] == code
    assert "secret" not in json.dumps(stream_events)


def test_a_complete_response_does_not_fail_afterwards():
    """The time limit expires while the complete stream is closed; no further event is sent."""

    class Slow(ScriptedChatService):
        async def stream(self, chat_request):
            async for delta in super().stream(chat_request):
                yield delta
            await asyncio.sleep(5)

    app = create_app({"scripted": Slow()}, default="scripted", limits=ServerLimits(request_timeout=0.3))
    with serve_in_thread(app) as url:
        assert events(url)[-1]["type"] == "response.completed"
