"""The step that answers from documents, on its own."""

import asyncio
from types import SimpleNamespace

import pytest

from turnwise.chat.service_path import grounded_answer
from turnwise.chat.service_path.conversation_state import ConversationState
from turnwise.chat.service_path.passage_finders import ScoredPassage, WordFinder
from turnwise.chat.service_path.tuned_thresholds import Thresholds
from turnwise.core.retrieval import Passage
from turnwise.text.lexical_retriever import LexicalRetriever


def test_without_a_passage_nothing_is_answered_at_any_threshold():
    turn = SimpleNamespace(
        kind=None,
        finder=WordFinder(LexicalRetriever(())),
        message="Where is my lamp?",
        customer_messages=["Where is my lamp?"],
        thresholds=Thresholds(retrieval=0.0),
    )
    assert asyncio.run(grounded_answer.decide(turn)).outcome == "no_passage"


@pytest.mark.parametrize("message", ["?", "？ ", "..."])
def test_a_message_without_content_is_not_answered_from_documents(message):
    turn = SimpleNamespace(kind=None, finder=WordFinder(LexicalRetriever([Passage("?")])), message=message)
    assert asyncio.run(grounded_answer.decide(turn)).outcome == "no_passage"


@pytest.mark.parametrize("relevance", [-0.1, 0.17, float("nan")])
def test_a_passage_below_the_threshold_is_not_quoted(relevance):
    assert decide_with(relevance).outcome == "no_passage"


def test_only_passages_that_reach_the_threshold_are_quoted():
    result = decide_with(0.05, 0.3)
    assert (result.outcome, result.answer.text) == ("quoted", "Text 1. [1]")


def decide_with(*relevances):
    """The step in a scenario that quotes, with passages of these similarities in this order."""

    class Finder:
        """Finds them."""

        async def find(self, messages, k):
            passages = [Passage(f"Text {number}.") for number in range(len(relevances))]
            return [
                ScoredPassage(passage, passage, relevance, "similarity")
                for passage, relevance in zip(passages, relevances, strict=True)
            ]

    turn = SimpleNamespace(
        kind=None, finder=Finder(), message="Where is it?", customer_messages=["Where is it?"], failed=[],
        thresholds=Thresholds(similarity=0.24), state=ConversationState(),
        definition=SimpleNamespace(settings=SimpleNamespace(document_answers="quote")),
    )  # fmt: skip
    return asyncio.run(grounded_answer.decide(turn))
