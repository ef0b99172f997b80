"""A served model is ready for its first requests before the server listens."""

import asyncio

import pytest

from turnwise.app.chat_services import open_chat_service
from turnwise.core.chat_request import ChatRequest
from turnwise.core.messages import Message
from turnwise.text.constraints.grammar_compiler import GrammarCompiler


def test_the_tables_of_the_vocabulary_are_there_before_the_first_request():
    with open_chat_service(None, max_num_seqs=1, prepare=True) as service:
        assert {"token_lower_bound", "vocabulary", "grammars"} <= vars(service.renderer).keys()


@pytest.mark.parametrize("error", [ValueError("no end token"), RecursionError()])
def test_a_table_that_cannot_be_built_keeps_no_model_from_being_served(monkeypatch, error):
    def fail(self):
        raise error

    monkeypatch.setattr(GrammarCompiler, "prepare", fail)
    with open_chat_service(None, max_num_seqs=1, prepare=True) as service:
        reply = asyncio.run(service.reply(ChatRequest((Message("user", "Hello"),), {"max_tokens": 2})))
    assert reply.usage.completion_tokens > 0
