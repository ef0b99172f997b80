"""DSPy, with its own client for chat completions and LiteLLM for embeddings."""

import asyncio
from typing import Literal

import pytest
from clients_shared import HELLO, LONG, MODEL, QUESTION, TEXTS, Weather

dspy = pytest.importorskip("dspy", reason="make clients")
from dspy import lm15  # noqa: E402

CLIENT = "DSPy"
pytestmark = pytest.mark.clients


class Forecast(dspy.Signature):
    """Forecast the weather."""

    question: str = dspy.InputField()
    weather: Weather = dspy.OutputField()


class Answer(dspy.Signature):
    """Answer the question."""

    question: str = dspy.InputField()
    history: dspy.History = dspy.InputField()
    tools: list[dspy.Tool] = dspy.InputField()
    tool_calls: dspy.ToolCalls = dspy.OutputField()
    answer: Literal["good", "bad"] = dspy.OutputField()


def get_weather(city: Literal["Rome", "Paris"]) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


TOOL = dspy.Tool(get_weather)


@pytest.fixture(scope="module")
def lm(url):
    """A model of an unknown server, declared as in the documentation of DSPy."""
    access = lm15.AccessPolicy(provider="turnwise", base_url=url, env_keys=())
    server = lm15.ProviderDefinition.chat(access, compat=lm15.OpenAIChatCompat(), placeholder_key="-")
    supports = lm15.ModelSupport(function_calling=True, response_schema=True, reasoning=False)
    lm15.register_provider(server, supports=supports)
    yield dspy.LM(f"turnwise/{MODEL}", engine="lm15", temperature=0, max_tokens=60, cache=False, num_retries=0)
    lm15.unregister_provider("turnwise")


@pytest.fixture
def settings(lm):
    with dspy.context(lm=lm, adapter=dspy.JSONAdapter(use_native_function_calling=True)):
        yield


async def stream(program, **inputs):
    """Return the chunks of a program's stream, and its prediction."""
    items = [item async for item in dspy.streamify(program)(**inputs)]
    return items[:-1], items[-1]


@pytest.mark.capability("chat")
def test_chat(lm):
    assert lm(HELLO)[0]


@pytest.mark.capability("stream")
def test_stream(settings):
    chunks, prediction = asyncio.run(stream(dspy.Predict(Forecast), question="Rome"))
    assert len(chunks) > 3
    assert prediction.weather == dspy.Predict(Forecast)(question="Rome").weather


def finish_loop(first):
    """Send the call and its output as DSPy renders them; the model answers."""
    outputs = [call.execute(functions=[TOOL]) for call in first.tool_calls.tool_calls]
    results = dspy.ToolCallResults.from_tool_calls_and_values(first.tool_calls, outputs)
    calls = first.tool_calls.model_copy(update={"tool_call_results": results})
    history = dspy.History(messages=[{"question": QUESTION, "tool_calls": calls}])
    config = {"tool_choice": "none"}
    second = dspy.Predict(Answer)(question="Is that good?", history=history, tools=[TOOL], config=config)
    assert second.answer in ("good", "bad")


FIRST = {
    "question": QUESTION, "history": dspy.History(messages=[]), "tools": [TOOL],
    "config": {"tool_choice": "required"},
}  # fmt: skip


@pytest.mark.capability("tool loop")
def test_tool_loop(settings):
    finish_loop(dspy.Predict(Answer)(**FIRST))


@pytest.mark.capability("streamed tool loop")
def test_streamed_tool_loop(settings):
    chunks, first = asyncio.run(stream(dspy.Predict(Answer), **FIRST))
    assert len(chunks) > 3
    finish_loop(first)


@pytest.mark.capability("structured output")
def test_structured_output(settings):
    assert isinstance(dspy.Predict(Forecast)(question="Rome").weather, Weather)


@pytest.mark.capability("embeddings")
def test_embeddings(url):
    embed = dspy.Embedder(f"openai/{MODEL}", api_base=url, api_key="-", caching=False)
    assert len(embed(TEXTS)) == len(TEXTS)


@pytest.mark.capability("context overflow")
def test_context_overflow(lm):
    with pytest.raises(dspy.ContextWindowExceededError):
        lm(LONG)
