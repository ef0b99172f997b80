"""The official Python client with responses."""

import asyncio
import json

import openai
import pytest
from clients_shared import ASK, HELLO, LONG, MODEL, RESPONSE_TOOL, Weather

CLIENT = "openai (Python), responses"
pytestmark = pytest.mark.slow
LIMIT = {"max_output_tokens": 60, "temperature": 0}


@pytest.mark.capability("chat")
def test_chat(openai_client):
    assert openai_client.responses.create(model=MODEL, input=HELLO, **LIMIT).output_text


@pytest.mark.capability("stream")
def test_stream(openai_client, url):
    async def streamed():
        made = openai.AsyncOpenAI(base_url=url, api_key="-", max_retries=0)
        async with made as client, client.responses.stream(model=MODEL, input=HELLO, **LIMIT) as stream:
            deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
            return "".join(deltas), await stream.get_final_response()

    text, final = asyncio.run(streamed())
    assert text == final.output_text == openai_client.responses.create(model=MODEL, input=HELLO, **LIMIT).output_text


def outputs_of(response):
    calls = [item for item in response.output if item.type == "function_call"]
    assert all("city" in json.loads(call.arguments) for call in calls)
    return [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"} for call in calls]


@pytest.mark.capability("tool loop")
@pytest.mark.parametrize("by", ["history", "previous_response_id"])
def test_tool_loop(openai_client, by):
    tools = {"model": MODEL, "tools": [RESPONSE_TOOL], **LIMIT}
    first = openai_client.responses.create(input=[ASK], tool_choice="required", **tools)
    if by == "history":
        second = openai_client.responses.create(
            input=[ASK, *first.output, *outputs_of(first)], tool_choice="none", store=False, **tools
        )
    else:
        second = openai_client.responses.create(
            input=outputs_of(first), previous_response_id=first.id, tool_choice="none", **tools
        )
    assert second.output[0].type == "message"


@pytest.mark.capability("streamed tool loop")
def test_streamed_tool_loop(openai_client):
    tools = {"model": MODEL, "tools": [RESPONSE_TOOL], **LIMIT}
    with openai_client.responses.stream(input=[ASK], tool_choice="required", **tools) as stream:
        first = stream.get_final_response()
    second = openai_client.responses.create(input=[ASK, *first.output, *outputs_of(first)], tool_choice="none", **tools)
    assert second.output[0].type == "message"


@pytest.mark.capability("structured output")
def test_structured_output(openai_client):
    parsed = openai_client.responses.parse(model=MODEL, input="Rome", text_format=Weather, max_output_tokens=200)
    assert isinstance(parsed.output_parsed, Weather)


@pytest.mark.capability("context overflow")
def test_context_overflow(openai_client):
    with pytest.raises(openai.BadRequestError) as error:
        openai_client.responses.create(model=MODEL, input=LONG)
    assert error.value.code == "context_length_exceeded"
