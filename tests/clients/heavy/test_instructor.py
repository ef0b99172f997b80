"""instructor: objects from tool calls and from JSON schemas."""

import pytest
from clients_shared import ASK, HELLO, LONG, MODEL, Weather

instructor = pytest.importorskip("instructor", reason="make clients")
openai = pytest.importorskip("openai")

CLIENT = "instructor"
pytestmark = pytest.mark.clients


def create_client(url, mode):
    return instructor.from_openai(openai.OpenAI(base_url=url, api_key="-", max_retries=0), mode=mode)


def create(url, mode=instructor.Mode.TOOLS, **fields):
    arguments = {"model": MODEL, "messages": [ASK], "max_tokens": 200, "temperature": 0, "max_retries": 1}
    return create_client(url, mode).chat.completions.create(**arguments | fields)


@pytest.mark.capability("chat")
def test_chat(url):
    answer = create(url, response_model=None, messages=[{"role": "user", "content": HELLO}])
    assert answer.choices[0].message.content


@pytest.mark.capability("structured output")
def test_objects_from_tool_calls(url):
    assert isinstance(create(url, response_model=Weather), Weather)


@pytest.mark.capability("stream")
def test_partial_objects_from_streamed_tool_calls(url):
    objects = list(create(url, response_model=instructor.Partial[Weather], stream=True))
    assert isinstance(objects[-1].city, str)


@pytest.mark.capability("structured output")
@pytest.mark.parametrize("mode", ["JSON_SCHEMA", "TOOLS_STRICT"])
def test_structured_output(url, mode):
    assert isinstance(create(url, instructor.Mode[mode], response_model=Weather), Weather)


@pytest.mark.capability("context overflow")
def test_context_overflow(url):
    with pytest.raises(Exception, match=r"maximum context length|context_length_exceeded"):
        create(url, response_model=Weather, messages=[{"role": "user", "content": LONG}])
