"""smolagents: its model class and its tool-calling agent."""

import json

import pytest
from clients_shared import HELLO, LONG, MODEL, QUESTION, WEATHER

smolagents = pytest.importorskip("smolagents", reason="make clients")
openai = pytest.importorskip("openai")
from smolagents.agents import EMPTY_PROMPT_TEMPLATES  # noqa: E402

CLIENT = "smolagents"
pytestmark = pytest.mark.clients
GREETING = [{"role": "user", "content": [{"type": "text", "text": HELLO}]}]


class GetWeather(smolagents.Tool):
    name = "get_weather"
    description = "The weather of a city."
    inputs = {"city": {"type": "string", "description": "A city.", "maxLength": 12}}  # noqa: RUF012
    output_type = "string"

    def forward(self, city: str) -> str:
        return f"sunny in {city}"


class FinalAnswer(smolagents.Tool):
    name = "final_answer"
    description = "Give the final answer."
    inputs = {"answer": {"type": "string", "description": "The answer.", "maxLength": 12}}  # noqa: RUF012
    output_type = "string"

    def forward(self, answer: str) -> str:
        return answer


@pytest.fixture
def model(url):
    return smolagents.OpenAIModel(
        MODEL, api_base=url, api_key="-", client_kwargs={"max_retries": 0}, max_tokens=60, temperature=0
    )


@pytest.mark.capability("chat")
def test_chat(model):
    assert model.generate(GREETING).content


@pytest.mark.capability("stream")
def test_stream(model):
    pieces = [delta.content or "" for delta in model.generate_stream(GREETING)]
    assert "".join(pieces) == model.generate(GREETING).content
    assert len(pieces) > 3


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param(False, marks=pytest.mark.capability("tool loop")),
        pytest.param(True, marks=pytest.mark.capability("streamed tool loop")),
    ],
)
def test_tool_loop(model, streams):
    """The first step has to call the tool; the second one gets the output and has to answer."""

    def force(name):
        model.kwargs["tool_choice"] = {"type": "function", "function": {"name": name}}

    force("get_weather")
    agent = smolagents.ToolCallingAgent(
        [GetWeather(), FinalAnswer()], model, EMPTY_PROMPT_TEMPLATES | {"system_prompt": "You are Turnwise."},
        stream_outputs=streams, max_steps=2, verbosity_level=-1, step_callbacks=[lambda _: force("final_answer")],
    )  # fmt: skip
    result = agent.run(QUESTION, return_full_result=True)
    assert result.state == "success"
    assert [step["tool_calls"][0]["function"]["name"] for step in result.steps if "tool_calls" in step] == [
        "get_weather", "final_answer",
    ]  # fmt: skip
    assert "sunny in" in str(result.steps)


@pytest.mark.capability("structured output")
def test_structured_output(model):
    form = {"type": "json_schema", "json_schema": {"name": "weather", "schema": WEATHER, "strict": True}}
    assert json.loads(model.generate(GREETING, response_format=form).content).keys() == {"city"}


@pytest.mark.capability("context overflow")
def test_context_overflow(model):
    with pytest.raises(openai.BadRequestError) as error:
        model.generate([{"role": "user", "content": LONG}])
    assert error.value.code == "context_length_exceeded"
