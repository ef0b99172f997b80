"""The official Python client, on chat completions: loops that people write by hand."""

import json

import openai
import pydantic
import pytest
from clients_shared import CHAT_TOOL, HELLO, LONG, MODEL, TEXTS

CLIENT = "openai (Python), chat"
pytestmark = pytest.mark.slow
ASK = {"role": "user", "content": "The weather in Rome?"}
LIMIT = {"max_tokens": 60, "temperature": 0}


class Weather(pydantic.BaseModel):
    city: str = pydantic.Field(max_length=12)
    days: int = pydantic.Field(ge=1, le=7)


@pytest.fixture(scope="module")
def client(url):
    with openai.OpenAI(base_url=url, api_key="-", max_retries=0) as made:
        yield made


@pytest.mark.capability("chat")
def test_chat(client):
    answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": HELLO}], **LIMIT)
    assert answer.choices[0].message.content


@pytest.mark.capability("stream")
def test_stream(client):
    asked = {"model": MODEL, "messages": [{"role": "user", "content": HELLO}], **LIMIT}
    chunks = list(client.chat.completions.create(**asked, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == client.chat.completions.create(**asked).choices[0].message.content
    assert len(chunks) > 3


def go_on(client, messages, message, calls):
    """Send the message back as the client holds it, with an output for every call."""
    outputs = [{"role": "tool", "tool_call_id": id, "content": "sunny"} for id in calls]
    return client.chat.completions.create(
        model=MODEL, messages=[*messages, message, *outputs], tools=[CHAT_TOOL], tool_choice="none", **LIMIT
    )


@pytest.mark.capability("tool loop")
@pytest.mark.parametrize("form", ["object", "dump"])
def test_tool_loop(client, form):
    answer = client.chat.completions.create(
        model=MODEL, messages=[ASK], tools=[CHAT_TOOL], tool_choice="required", **LIMIT
    )
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls"
    assert "city" in json.loads(message.tool_calls[0].function.arguments)
    sent = message if form == "object" else message.model_dump()
    assert go_on(client, [ASK], sent, [call.id for call in message.tool_calls]).choices[0].message.role == "assistant"


@pytest.mark.capability("streamed tool loop")
def test_streamed_tool_loop_accumulated_by_hand(client):
    """As in most examples on the web: the pieces, `index` included, are merged and sent back."""
    calls = {}
    for chunk in client.chat.completions.create(
        model=MODEL, messages=[ASK], tools=[CHAT_TOOL], tool_choice="required", stream=True, **LIMIT
    ):
        for piece in chunk.choices[0].delta.tool_calls or []:
            if piece.index not in calls:
                calls[piece.index] = piece.model_dump()
            else:
                calls[piece.index]["function"]["arguments"] += piece.function.arguments
    message = {"role": "assistant", "content": None, "tool_calls": list(calls.values())}
    assert all(json.loads(call["function"]["arguments"])["city"] is not None for call in calls.values())
    assert go_on(client, [ASK], message, [call["id"] for call in calls.values()]).choices


@pytest.mark.capability("streamed tool loop")
def test_streamed_tool_loop_accumulated_by_the_client(client):
    with client.chat.completions.stream(
        model=MODEL, messages=[ASK], tools=[CHAT_TOOL], tool_choice="required", **LIMIT
    ) as stream:
        message = stream.get_final_completion().choices[0].message
    assert go_on(client, [ASK], message, [call.id for call in message.tool_calls]).choices


@pytest.mark.capability("structured output")
def test_structured_output(client):
    answer = client.chat.completions.parse(
        model=MODEL, messages=[ASK], response_format=Weather, max_tokens=200, temperature=0
    )
    assert isinstance(answer.choices[0].message.parsed, Weather)


@pytest.mark.capability("embeddings")
def test_embeddings(client):
    found = client.embeddings.create(model=MODEL, input=TEXTS).data
    assert [entry.index for entry in found] == list(range(len(TEXTS)))
    assert all(isinstance(entry.embedding[0], float) for entry in found)


@pytest.mark.capability("context overflow")
def test_context_overflow(client):
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": LONG}])
    assert error.value.code == "context_length_exceeded"
