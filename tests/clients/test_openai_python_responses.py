"""The official Python client, on responses."""

import asyncio
import json

import openai
import pydantic
import pytest
from clients_shared import HELLO, LONG, MODEL, RESPONSE_TOOL

CLIENT = "openai (Python), responses"
pytestmark = pytest.mark.slow
ASK = {"role": "user", "content": "The weather in Rome?"}
LIMIT = {"max_output_tokens": 60, "temperature": 0}


class Weather(pydantic.BaseModel):
    city: str = pydantic.Field(max_length=12)
    days: int = pydantic.Field(ge=1, le=7)


@pytest.fixture(scope="module")
def client(url):
    with openai.OpenAI(base_url=url, api_key="-", max_retries=0) as made:
        yield made


@pytest.mark.capability("chat")
def test_chat(client):
    assert client.responses.create(model=MODEL, input=HELLO, **LIMIT).output_text


@pytest.mark.capability("stream")
def test_stream(client, url):
    async def streamed():
        made = openai.AsyncOpenAI(base_url=url, api_key="-", max_retries=0)
        async with made as client, client.responses.stream(model=MODEL, input=HELLO, **LIMIT) as stream:
            deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
            return "".join(deltas), await stream.get_final_response()

    text, final = asyncio.run(streamed())
    assert text == final.output_text == client.responses.create(model=MODEL, input=HELLO, **LIMIT).output_text


def outputs_of(response):
    calls = [item for item in response.output if item.type == "function_call"]
    assert all("city" in json.loads(call.arguments) for call in calls)
    return [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"} for call in calls]


@pytest.mark.capability("tool loop")
@pytest.mark.parametrize("by", ["history", "previous_response_id"])
def test_tool_loop(client, by):
    tools = {"model": MODEL, "tools": [RESPONSE_TOOL], **LIMIT}
    first = client.responses.create(input=[ASK], tool_choice="required", **tools)
    if by == "history":
        second = client.responses.create(
            input=[ASK, *first.output, *outputs_of(first)], tool_choice="none", store=False, **tools
        )
    else:
        second = client.responses.create(
            input=outputs_of(first), previous_response_id=first.id, tool_choice="none", **tools
        )
    assert second.output[0].type == "message"


@pytest.mark.capability("streamed tool loop")
def test_streamed_tool_loop(client):
    tools = {"model": MODEL, "tools": [RESPONSE_TOOL], **LIMIT}
    with client.responses.stream(input=[ASK], tool_choice="required", **tools) as stream:
        first = stream.get_final_response()
    second = client.responses.create(input=[ASK, *first.output, *outputs_of(first)], tool_choice="none", **tools)
    assert second.output[0].type == "message"


@pytest.mark.capability("structured output")
def test_structured_output(client):
    parsed = client.responses.parse(model=MODEL, input="Rome", text_format=Weather, max_output_tokens=200)
    assert isinstance(parsed.output_parsed, Weather)


@pytest.mark.capability("context overflow")
def test_context_overflow(client):
    with pytest.raises(openai.BadRequestError) as error:
        client.responses.create(model=MODEL, input=LONG)
    assert error.value.code == "context_length_exceeded"
