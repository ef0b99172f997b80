"""The step that answers from documents, on its own."""

import asyncio
from types import SimpleNamespace

from turnwise.chat.service_path import grounded_answer
from turnwise.chat.service_path.passage_finders import WordFinder
from turnwise.chat.service_path.tuned_thresholds import Thresholds
from turnwise.text.lexical_retriever import LexicalRetriever


def test_without_a_passage_nothing_is_answered_at_any_threshold():
    turn = SimpleNamespace(
        kind=None,
        finder=WordFinder(LexicalRetriever(())),
        customer_messages=["Where is my lamp?"],
        thresholds=Thresholds(retrieval=0.0),
    )
    assert asyncio.run(grounded_answer.decide(turn)).outcome == "no_passage"
