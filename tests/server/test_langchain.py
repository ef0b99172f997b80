"""LangChain's adapter as a client."""

import asyncio

import pydantic
import pytest

from turnwise.app.chat_services import open_chat_service
from turnwise.server.app import create_app
from turnwise.testing import serve_in_thread

langchain_openai = pytest.importorskip("langchain_openai", reason="needs langchain-openai")

pytestmark = pytest.mark.slow
JOKE = [("system", "You are Turnwise."), ("human", "Tell me a joke")]


class Weather(pydantic.BaseModel):
    """The weather of a city."""

    city: str = pydantic.Field(max_length=12)
    days: int = pydantic.Field(ge=1, le=7)


@pytest.fixture(scope="module")
def url():
    with open_chat_service() as service, serve_in_thread(create_app({"box": service}, default="box")) as url:
        yield f"{url}/v1"


@pytest.fixture(scope="module")
def chat(url):
    return langchain_openai.ChatOpenAI(
        model="box", base_url=url, api_key="-", temperature=0, max_tokens=300, max_retries=0
    )


def test_a_response_has_text_usage_and_finish_reason(chat):
    answer = chat.invoke(JOKE)
    assert answer.content
    assert answer.usage_metadata["total_tokens"] == (
        answer.usage_metadata["input_tokens"] + answer.usage_metadata["output_tokens"]
    )
    assert answer.response_metadata["finish_reason"] == "stop"


def test_a_stream_adds_up_to_the_response(chat):
    pieces = list(chat.stream(JOKE))
    assert len(pieces) > 3
    assert "".join(piece.content for piece in pieces) == chat.invoke(JOKE).content


def test_a_batch_of_requests(chat):
    alone = [chat.invoke(text).content for text in ("Hello!", "Who are you?", "I am tired")]
    assert [answer.content for answer in chat.batch(["Hello!", "Who are you?", "I am tired"])] == alone
    assert asyncio.run(chat.ainvoke("Hello!")).content == alone[0]


def test_a_tool_is_called_and_its_result_is_read(chat):
    bound = chat.bind_tools([Weather], tool_choice="Weather")
    question = [("human", "What is the weather in Rome?")]
    answer = bound.invoke(question)
    (call,) = answer.tool_calls
    assert call["name"] == "Weather"
    assert Weather(**call["args"])
    merged = None
    for piece in bound.stream(question):
        merged = piece if merged is None else merged + piece
    assert merged.tool_calls[0]["args"] == call["args"]
    result = {"role": "tool", "tool_call_id": call["id"], "content": "sunny"}
    assert chat.bind_tools([Weather]).invoke([*question, answer, result]).response_metadata["finish_reason"]


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output_is_an_object_of_the_class(chat, method):
    weather = chat.with_structured_output(Weather, method=method).invoke("The weather in Rome for three days")
    assert isinstance(weather, Weather)


def test_embeddings(url):
    embeddings = langchain_openai.OpenAIEmbeddings(
        model="box", base_url=url, api_key="-", check_embedding_ctx_length=False
    )
    first, second = embeddings.embed_documents(["Hello", "Good bye"])
    assert len(first) == len(second) == 256
    assert embeddings.embed_query("Hello") == first


def test_text_completions(url):
    assert langchain_openai.OpenAI(model="box", base_url=url, api_key="-", max_tokens=5).invoke("The capital of")


def test_an_error_is_raised_with_its_message(url):
    wrong = langchain_openai.ChatOpenAI(model="none", base_url=url, api_key="-", max_retries=0)
    with pytest.raises(Exception, match="not served here"):
        wrong.invoke("Hello")
