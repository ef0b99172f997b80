"""LiteLLM, the gateway."""

import json

import pytest
from clients_shared import ASK, CHAT_TOOL, HELLO, LONG, MODEL, TEXTS, WEATHER

litellm = pytest.importorskip("litellm", reason="make clients")

CLIENT = "LiteLLM"
pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def complete(url):
    def complete(messages, **fields):
        arguments = {"api_base": url, "api_key": "-", "max_tokens": 60, "temperature": 0, "max_retries": 0, **fields}
        return litellm.completion(model=f"openai/{MODEL}", messages=messages, **arguments)

    return complete


@pytest.mark.capability("chat")
def test_chat(complete):
    assert complete([{"role": "user", "content": HELLO}]).choices[0].message.content


@pytest.mark.capability("stream")
def test_stream(complete):
    hello = [{"role": "user", "content": HELLO}]
    pieces = [chunk.choices[0].delta.content or "" for chunk in complete(hello, stream=True)]
    assert "".join(pieces) == complete(hello).choices[0].message.content
    assert len(pieces) > 3


def go_on(complete, message):
    assert json.loads(message.tool_calls[0].function.arguments).keys() == {"city"}
    outputs = [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in message.tool_calls]
    answer = complete([ASK, message, *outputs], tools=[CHAT_TOOL], tool_choice="none")
    assert answer.choices[0].message.role == "assistant"


@pytest.mark.capability("tool loop")
def test_tool_loop(complete):
    go_on(complete, complete([ASK], tools=[CHAT_TOOL], tool_choice="required").choices[0].message)


@pytest.mark.capability("streamed tool loop")
def test_streamed_tool_loop(complete):
    chunks = list(complete([ASK], tools=[CHAT_TOOL], tool_choice="required", stream=True))
    go_on(complete, litellm.stream_chunk_builder(chunks, messages=[ASK]).choices[0].message)


@pytest.mark.capability("structured output")
def test_structured_output(complete):
    form = {"type": "json_schema", "json_schema": {"name": "weather", "schema": WEATHER, "strict": True}}
    answer = complete([ASK], response_format=form)
    assert json.loads(answer.choices[0].message.content).keys() == {"city"}


@pytest.mark.capability("embeddings")
def test_embeddings(url):
    embeddings = litellm.embedding(
        model=f"openai/{MODEL}", input=TEXTS, api_base=url, api_key="-", encoding_format="float", max_retries=0
    )
    assert len(embeddings.data) == len(TEXTS)


@pytest.mark.capability("context overflow")
def test_context_overflow(complete):
    with pytest.raises(litellm.ContextWindowExceededError):
        complete([{"role": "user", "content": LONG}])
