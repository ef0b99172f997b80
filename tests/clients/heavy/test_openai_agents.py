"""The OpenAI Agents SDK with responses, its default, and with chat completions."""

import asyncio
from typing import Annotated

import pydantic
import pytest
from clients_shared import HELLO, LONG, MODEL, QUESTION, Weather

agents = pytest.importorskip("agents", reason="make clients")
openai = pytest.importorskip("openai")

CLIENT = "OpenAI Agents SDK"
pytestmark = pytest.mark.clients
BOTH = pytest.mark.parametrize("client", ["OpenAI Agents SDK", "OpenAI Agents SDK, chat"])
CALLED = []


@agents.function_tool
def get_weather(city: Annotated[str, pydantic.Field(max_length=12)]) -> str:
    """The weather of a city."""
    CALLED.append(city)
    return "sunny"


@pytest.fixture
def agent(url, client):
    agents.set_tracing_disabled(True)

    def create_agent(**more):
        kind = agents.OpenAIChatCompletionsModel if client.endswith("chat") else agents.OpenAIResponsesModel
        model = kind(model=MODEL, openai_client=openai.AsyncOpenAI(base_url=url, api_key="-", max_retries=0))
        settings = agents.ModelSettings(
            temperature=0, max_tokens=60, tool_choice="required" if "tools" in more else None
        )
        return agents.Agent(name="a", instructions="You are Turnwise.", model=model, model_settings=settings, **more)

    return create_agent


@BOTH
@pytest.mark.capability("chat")
def test_chat(agent):
    assert asyncio.run(agents.Runner.run(agent(), HELLO)).final_output


@BOTH
@pytest.mark.capability("stream")
def test_stream(agent):
    async def run_streamed():
        result = agents.Runner.run_streamed(agent(), HELLO)
        pieces = [
            event.data.delta async for event in result.stream_events()
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
        ]  # fmt: skip
        return pieces, result.final_output

    pieces, final = asyncio.run(run_streamed())
    assert "".join(pieces) == final
    assert len(pieces) > 3


@BOTH
@pytest.mark.capability("tool loop")
def test_tool_loop(agent):
    """The SDK resets a required choice after the first call, so the model can answer."""
    before = len(CALLED)
    result = asyncio.run(agents.Runner.run(agent(tools=[get_weather]), QUESTION, max_turns=6))
    assert len(CALLED) > before
    again = asyncio.run(agents.Runner.run(agent(), [*result.to_input_list(), {"role": "user", "content": "Thanks!"}]))
    assert again.final_output


@BOTH
@pytest.mark.capability("streamed tool loop")
def test_streamed_tool_loop(agent):
    async def run_streamed():
        result = agents.Runner.run_streamed(agent(tools=[get_weather]), QUESTION, max_turns=6)
        async for _ in result.stream_events():
            pass
        return result.to_input_list()

    before = len(CALLED)
    items = asyncio.run(run_streamed())
    assert len(CALLED) > before
    assert asyncio.run(agents.Runner.run(agent(), [*items, {"role": "user", "content": "Thanks!"}])).final_output


@BOTH
@pytest.mark.capability("structured output")
def test_structured_output(agent):
    assert isinstance(asyncio.run(agents.Runner.run(agent(output_type=Weather), "Rome")).final_output, Weather)


@BOTH
@pytest.mark.capability("context overflow")
def test_context_overflow(agent):
    with pytest.raises(openai.BadRequestError) as error:
        asyncio.run(agents.Runner.run(agent(), LONG))
    assert error.value.code == "context_length_exceeded"
