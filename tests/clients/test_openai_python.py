"""The official Python client with chat completions, in hand-written loops."""

import json

import openai
import pytest
from clients_shared import ASK, CHAT_TOOL, HELLO, LONG, MODEL, TEXTS, Weather

CLIENT = "openai (Python), chat"
pytestmark = pytest.mark.slow
LIMIT = {"max_tokens": 60, "temperature": 0}


@pytest.mark.capability("chat")
def test_chat(openai_client):
    answer = openai_client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": HELLO}], **LIMIT)
    assert answer.choices[0].message.content


@pytest.mark.capability("stream")
def test_stream(openai_client):
    arguments = {"model": MODEL, "messages": [{"role": "user", "content": HELLO}], **LIMIT}
    chunks = list(openai_client.chat.completions.create(**arguments, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == openai_client.chat.completions.create(**arguments).choices[0].message.content
    assert len(chunks) > 3


def go_on(openai_client, messages, message, calls):
    """Send the message back as the client represents it, with an output for every call."""
    outputs = [{"role": "tool", "tool_call_id": id, "content": "sunny"} for id in calls]
    return openai_client.chat.completions.create(
        model=MODEL, messages=[*messages, message, *outputs], tools=[CHAT_TOOL], tool_choice="none", **LIMIT
    )


@pytest.mark.capability("tool loop")
@pytest.mark.parametrize("form", ["object", "dump"])
def test_tool_loop(openai_client, form):
    answer = openai_client.chat.completions.create(
        model=MODEL, messages=[ASK], tools=[CHAT_TOOL], tool_choice="required", **LIMIT
    )
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls"
    assert "city" in json.loads(message.tool_calls[0].function.arguments)
    sent = message if form == "object" else message.model_dump()
    second = go_on(openai_client, [ASK], sent, [call.id for call in message.tool_calls])
    assert second.choices[0].message.role == "assistant"


@pytest.mark.capability("streamed tool loop")
def test_streamed_tool_loop_accumulated_by_hand(openai_client):
    """Merge the deltas, including `index`, and send the message back, as in published examples."""
    calls = {}
    for chunk in openai_client.chat.completions.create(
        model=MODEL, messages=[ASK], tools=[CHAT_TOOL], tool_choice="required", stream=True, **LIMIT
    ):
        for piece in chunk.choices[0].delta.tool_calls or []:
            if piece.index not in calls:
                calls[piece.index] = piece.model_dump()
            else:
                calls[piece.index]["function"]["arguments"] += piece.function.arguments
    message = {"role": "assistant", "content": None, "tool_calls": list(calls.values())}
    assert all(json.loads(call["function"]["arguments"])["city"] is not None for call in calls.values())
    assert go_on(openai_client, [ASK], message, [call["id"] for call in calls.values()]).choices


@pytest.mark.capability("streamed tool loop")
def test_streamed_tool_loop_accumulated_by_the_client(openai_client):
    with openai_client.chat.completions.stream(
        model=MODEL, messages=[ASK], tools=[CHAT_TOOL], tool_choice="required", **LIMIT
    ) as stream:
        message = stream.get_final_completion().choices[0].message
    assert go_on(openai_client, [ASK], message, [call.id for call in message.tool_calls]).choices


@pytest.mark.capability("structured output")
def test_structured_output(openai_client):
    answer = openai_client.chat.completions.parse(
        model=MODEL, messages=[ASK], response_format=Weather, max_tokens=200, temperature=0
    )
    assert isinstance(answer.choices[0].message.parsed, Weather)


@pytest.mark.capability("embeddings")
def test_embeddings(openai_client):
    embeddings = openai_client.embeddings.create(model=MODEL, input=TEXTS).data
    assert [entry.index for entry in embeddings] == list(range(len(TEXTS)))
    assert all(isinstance(entry.embedding[0], float) for entry in embeddings)


@pytest.mark.capability("context overflow")
def test_context_overflow(openai_client):
    with pytest.raises(openai.BadRequestError) as error:
        openai_client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": LONG}])
    assert error.value.code == "context_length_exceeded"
