"""Clients that compare error messages recognise the error for a prompt that is too long."""

import httpx
import pytest

from turnwise.app.chat_services import open_chat_service
from turnwise.core.errors import ContextLengthExceeded
from turnwise.server.app import create_app
from turnwise.testing import serve_in_thread

LONG = "a word " * 3000


@pytest.fixture(scope="module")
def url():
    with open_chat_service() as service, serve_in_thread(create_app({"box": service}, default="box")) as url:
        yield url


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": LONG}]}, "messages"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": LONG}], "stream": True}, "messages"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}], "max_tokens": 5000}, "messages"),
        ("/v1/completions", {"prompt": LONG}, "prompt"),
        ("/v1/completions", {"prompt": ["a", LONG]}, "prompt"),
        ("/v1/embeddings", {"input": LONG}, "input"),
        ("/v1/embeddings", {"input": ["a", [5] * 3000]}, "input"),
    ],
)
def test_every_route_sends_the_published_message(url, path, fields, param):
    answer = httpx.post(url + path, json={"model": "box", **fields}, timeout=60)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert (error["code"], error["param"]) == ("context_length_exceeded", param)
    message = error["message"]
    assert message.startswith("This model's maximum context length is 1024 tokens. However, you")  # litellm
    assert f"reduce the length of the {param}" in message  # pydantic-ai
    assert "context_length_exceeded" in message  # LangChain searches str(error), which is only the message


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ContextLengthExceeded.for_prompt(10, 12),
         "However, your messages resulted in 12 tokens. Please reduce the length of the messages."),
        (ContextLengthExceeded.for_prompt(10, "at least 12"), "However, your messages resulted in at least 12 tokens."),
        (ContextLengthExceeded.for_prompt(10, 8, 5),
         "However, you requested 13 tokens (8 in the messages, 5 in the completion). "
         "Please reduce the length of the messages or the completion."),
        (ContextLengthExceeded.for_prompt(10, 12, param="input"),
         "However, your input resulted in 12 tokens. Please reduce the length of the input."),
    ],
)  # fmt: skip
def test_the_message_contains_the_phrase_that_clients_search_for(error, words):
    assert f"This model's maximum context length is 10 tokens. {words}" in str(error)
