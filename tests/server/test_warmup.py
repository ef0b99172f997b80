"""A served model is warmed up before the server listens."""

import asyncio

import pytest

from turnwise.app.chat_services import open_chat_service
from turnwise.core.chat_request import ChatRequest
from turnwise.core.messages import Message
from turnwise.text.constraints.grammar_compiler import GrammarCompiler


def test_grammar_tables_are_built_before_the_first_request():
    with open_chat_service(None, max_num_seqs=1, prepare=True) as service:
        assert {"token_lower_bound", "vocabulary", "grammar_compiler"} <= vars(service.renderer).keys()


@pytest.mark.parametrize("error", [ValueError("no end token"), RecursionError()])
def test_a_model_is_served_even_if_its_grammar_tables_cannot_be_built(monkeypatch, error):
    def fail(self):
        raise error

    monkeypatch.setattr(GrammarCompiler, "prepare", fail)
    with open_chat_service(None, max_num_seqs=1, prepare=True) as service:
        reply = asyncio.run(service.reply(ChatRequest((Message("user", "Hello"),), {"max_tokens": 2})))
    assert reply.usage.completion_tokens > 0
