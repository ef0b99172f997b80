"""LlamaIndex, with its client for OpenAI-compatible servers."""

import pytest
from clients_shared import ASK, HELLO, LONG, MODEL, TEXTS, Weather

pytest.importorskip("llama_index.llms.openai_like", reason="needs requirements-llama-index.txt")
import openai
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike

CLIENT = "LlamaIndex"
pytestmark = pytest.mark.clients
GREETING = [ChatMessage(role="user", content=HELLO)]
MESSAGE = ChatMessage(**ASK)


def get_weather(city, days):
    return f"sunny in {city} for {days} days"


TOOL = FunctionTool.from_defaults(get_weather, fn_schema=Weather)


@pytest.fixture
def model(url):
    def model(**more):
        return OpenAILike(
            model=MODEL, api_base=url, api_key="-", is_chat_model=True, is_function_calling_model=True,
            max_tokens=60, temperature=0, max_retries=0, **more,
        )  # fmt: skip

    return model


@pytest.mark.capability("chat")
def test_chat(model):
    assert model().chat(GREETING).message.content


@pytest.mark.capability("stream")
def test_stream(model):
    pieces = [chunk.delta for chunk in model().stream_chat(GREETING)]
    assert "".join(pieces) == model().chat(GREETING).message.content
    assert len(pieces) > 3


def finish_loop(llm, first):
    calls = llm.get_tool_calls_from_response(first)
    outputs = [
        ChatMessage(
            role="tool", content=str(TOOL(**call.tool_kwargs)), additional_kwargs={"tool_call_id": call.tool_id}
        )
        for call in calls
    ]
    assert calls[0].tool_kwargs.keys() == {"city", "days"}
    answer = llm.chat_with_tools([TOOL], chat_history=[MESSAGE, first.message, *outputs], tool_choice="none")
    assert answer.message.content is not None
    assert not llm.get_tool_calls_from_response(answer, error_on_no_tool_call=False)


@pytest.mark.capability("tool loop")
def test_tool_loop(model):
    llm = model()
    finish_loop(llm, llm.chat_with_tools([TOOL], chat_history=[MESSAGE], tool_required=True))


@pytest.mark.capability("streamed tool loop")
def test_streamed_tool_loop(model):
    llm = model()
    *_, last = llm.stream_chat_with_tools([TOOL], chat_history=[MESSAGE], tool_required=True)
    finish_loop(llm, last)


@pytest.mark.capability("structured output")
@pytest.mark.parametrize("is_schema", [True, False], ids=["schema", "tool"])
def test_structured_output(model, is_schema):
    llm = model(should_use_structured_outputs=is_schema).as_structured_llm(Weather)
    assert isinstance(llm.chat([MESSAGE]).raw, Weather)


@pytest.mark.capability("embeddings")
def test_embeddings(url):
    embedding = OpenAILikeEmbedding(model_name=MODEL, api_base=url, api_key="-", max_retries=0)
    assert len(embedding.get_text_embedding_batch(TEXTS)) == len(TEXTS)


@pytest.mark.capability("context overflow")
def test_context_overflow(model):
    with pytest.raises(openai.BadRequestError) as error:
        model().chat([ChatMessage(role="user", content=LONG)])
    assert error.value.code == "context_length_exceeded"
