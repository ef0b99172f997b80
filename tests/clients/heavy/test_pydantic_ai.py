"""pydantic-ai with chat completions and responses."""

import asyncio

import pytest
from clients_shared import HELLO, LONG, MODEL, QUESTION, Weather

pydantic_ai = pytest.importorskip("pydantic_ai", reason="make clients")
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel  # noqa: E402
from pydantic_ai.providers.openai import OpenAIProvider  # noqa: E402

CLIENT = "pydantic-ai"
pytestmark = pytest.mark.clients
BOTH = pytest.mark.parametrize("client", ["pydantic-ai", "pydantic-ai, responses"])


@pytest.fixture
def agent(url, client):
    def create_agent(**more):
        kind = OpenAIResponsesModel if client.endswith("responses") else OpenAIChatModel
        model = kind(MODEL, provider=OpenAIProvider(base_url=url, api_key="-"))
        return pydantic_ai.Agent(model, model_settings={"max_tokens": 120, "temperature": 0}, retries=0, **more)

    return create_agent


@BOTH
@pytest.mark.capability("chat")
def test_chat(agent):
    assert agent().run_sync(HELLO).output


@BOTH
@pytest.mark.capability("stream")
def test_stream(agent):
    async def run_streamed():
        async with agent().run_stream(HELLO) as result:
            return [piece async for piece in result.stream_text(delta=True, debounce_by=None)]

    pieces = asyncio.run(run_streamed())
    assert "".join(pieces).strip() == agent().run_sync(HELLO).output.strip()
    assert len(pieces) > 3


@BOTH
@pytest.mark.capability("tool loop")
def test_tool_loop(agent):
    """An output tool is required; a second run sends the history with the call."""
    first = agent(output_type=pydantic_ai.ToolOutput(Weather)).run_sync(QUESTION)
    assert isinstance(first.output, Weather)
    second = agent().run_sync("Thank you!", message_history=first.all_messages())
    assert any(
        message_part.part_kind == "tool-return" for message in second.all_messages() for message_part in message.parts
    )
    assert second.output


@BOTH
@pytest.mark.capability("streamed tool loop")
def test_streamed_tool_loop(agent):
    async def run_streamed():
        async with agent(output_type=pydantic_ai.ToolOutput(Weather)).run_stream(QUESTION) as result:
            return await result.get_output(), result.all_messages()

    output, messages = asyncio.run(run_streamed())
    assert isinstance(output, Weather)
    assert agent().run_sync("Thank you!", message_history=messages).output


@BOTH
@pytest.mark.capability("structured output")
def test_structured_output(agent):
    assert isinstance(agent(output_type=pydantic_ai.NativeOutput(Weather)).run_sync("Rome").output, Weather)


@BOTH
@pytest.mark.capability("context overflow")
def test_context_overflow(agent):
    expected = getattr(pydantic_ai.exceptions, "ContextWindowExceeded", pydantic_ai.exceptions.ModelHTTPError)
    with pytest.raises(expected) as error:
        agent().run_sync(LONG)
    assert "context_length_exceeded" in str(error.value) or "maximum context length" in str(error.value)
