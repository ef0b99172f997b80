"""LangChain's OpenAI adapter with chat completions and responses."""

import pytest
from clients_shared import ASK, CHAT_TOOL, HELLO, LONG, MODEL, TEXTS

langchain_openai = pytest.importorskip("langchain_openai", reason="needs langchain-openai")

CLIENT = "LangChain"
pytestmark = pytest.mark.slow
BOTH = pytest.mark.parametrize("client", ["LangChain", "LangChain, responses"])


def model(client, url, **more):
    return langchain_openai.ChatOpenAI(
        model=MODEL, base_url=url, api_key="-", temperature=0, max_retries=0,
        use_responses_api=client.endswith("responses"), **{"max_tokens": 60, **more},
    )  # fmt: skip


@BOTH
@pytest.mark.capability("chat")
def test_chat(client, url):
    assert model(client, url).invoke(HELLO).text


@BOTH
@pytest.mark.capability("stream")
def test_stream(client, url):
    chat = model(client, url)
    pieces = [piece.text for piece in chat.stream(HELLO)]
    assert "".join(pieces) == chat.invoke(HELLO).text
    assert len(pieces) > 3


def go_on(chat, first):
    calls = [{"role": "tool", "tool_call_id": call["id"], "content": "sunny"} for call in first.tool_calls]
    assert first.tool_calls[0]["args"].keys() == {"city"}
    answer = chat.bind_tools([CHAT_TOOL], tool_choice="none").invoke([ASK, first, *calls])
    assert not answer.tool_calls


@BOTH
@pytest.mark.capability("tool loop")
def test_tool_loop(client, url):
    chat = model(client, url)
    go_on(chat, chat.bind_tools([CHAT_TOOL], tool_choice="required").invoke([ASK]))


@BOTH
@pytest.mark.capability("streamed tool loop")
def test_streamed_tool_loop(client, url):
    chat = model(client, url)
    first = None
    for piece in chat.bind_tools([CHAT_TOOL], tool_choice="required").stream([ASK]):
        first = piece if first is None else first + piece
    go_on(chat, first)


@BOTH
@pytest.mark.capability("structured output")
def test_structured_output(client, url):
    schema = {"title": "weather", **CHAT_TOOL["function"]["parameters"]}
    result = model(client, url).with_structured_output(schema, method="json_schema").invoke("Rome")
    assert result.keys() == {"city"}


@pytest.mark.capability("embeddings")
def test_embeddings(url):
    client = langchain_openai.OpenAIEmbeddings(
        model=MODEL, base_url=url, api_key="-", max_retries=0, check_embedding_ctx_length=False
    )
    assert len(client.embed_documents(TEXTS)) == len(TEXTS)


@BOTH
@pytest.mark.capability("context overflow")
def test_context_overflow(client, url):
    with pytest.raises(Exception, match=r"maximum context length|context_length_exceeded"):
        model(client, url).invoke(LONG)
