"""The bundled model: it is small and complete, and holds short conversations."""

import asyncio
import json

import pytest

from turnwise.app.chat_services import open_chat_service
from turnwise.app.model_names import resolve_model_folder
from turnwise.core.chat_request import ChatRequest
from turnwise.core.messages import Message
from turnwise.text.tokenization.tokenizer import Tokenizer

FOLDER = resolve_model_folder("box")


@pytest.fixture(scope="module")
def service():
    with open_chat_service() as service:
        yield service


def ask(service, *texts):
    """The greedy answer to alternating messages that start and end with the user."""
    messages = tuple(Message("assistant" if i % 2 else "user", text) for i, text in enumerate(texts))
    return asyncio.run(service.reply(ChatRequest(messages, {"temperature": 0, "max_tokens": 300})))


def test_the_folder_is_small_enough_for_the_package():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*")) <= 25_000_000


def test_the_folder_is_a_hugging_face_folder():
    names = {path.name for path in FOLDER.iterdir()}
    required = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}
    assert required | {"generation_config.json", "README.md"} <= names
    assert json.loads((FOLDER / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]


def test_the_model_card_is_complete():
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "@" not in card.replace("R@1/20", "").replace("R@1/4", "")
    for word in ("CDLA-Sharing-1.0", "BSD-3-Clause", "CC BY-SA", "Limitations"):
        assert word in card


@pytest.mark.parametrize("text", ["你好,请问我的包裹到哪里了?", "👩‍🚀 naïve café", "\x00\t\r\n", "日本語とعربي"])
def test_encoding_and_decoding_preserve_any_text(text):
    tokenizer = Tokenizer.load(FOLDER)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("Hello!", ("hello", "hi", "hey", "welcome", "good")),
        ("Who are you?", ("turnwise",)),
        ("What is your name?", ("turnwise",)),
        ("Thank you!", ("welcome", "pleasure", "glad", "any time", "anytime", "happy")),
        ("How do I cancel my order?", ("cancel",)),
        ("I want to change my shipping address", ("address",)),
        ("How can I get a refund?", ("refund",)),
        ("I forgot my password", ("password",)),
    ],
)
def test_trained_questions_are_answered(service, question, words):
    reply = ask(service, question)
    assert reply.finish_reason == "stop"
    assert any(word in reply.text.lower() for word in words), reply.text


def test_a_name_is_remembered_within_the_conversation(service):
    greeting = ask(service, "My name is Anna").text
    assert "Anna" in greeting
    assert "Anna" in ask(service, "My name is Anna", greeting, "What is my name?").text


def test_answers_end_with_the_stop_token(service):
    for question in ("tell me a joke", "how are you?", "bye", "can i talk to a human"):
        assert ask(service, question).finish_reason == "stop"
