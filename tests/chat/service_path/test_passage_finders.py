"""Passages of several sources are found together, each with its own measure."""

import asyncio

from turnwise.chat.service_path.passage_finders import MergedFinder, ScoredPassage, WordFinder, word_query
from turnwise.core.retrieval import Passage, PassageLocation
from turnwise.text.lexical_retriever import LexicalRetriever


class FixedFinder:
    """Finds passages of a measure, whatever is asked."""

    def __init__(self, measure, *texts):
        self.found = [ScoredPassage(Passage(text), Passage(text), 0.5, measure) for text in texts]

    async def find(self, messages, k):
        return self.found[:k]


def test_the_best_of_each_source_comes_first():
    merged = MergedFinder([FixedFinder("similarity", "a", "b"), FixedFinder("words", "c")])
    found = asyncio.run(merged.find(["x"], 3))
    assert [(item.passage.text, item.measure) for item in found] == [
        ("a", "similarity"), ("c", "words"), ("b", "similarity"),
    ]  # fmt: skip


def test_a_very_short_message_is_searched_together_with_the_one_before_it():
    assert word_query(["how long is the warranty", "and bulbs?"]) == "how long is the warranty\nand bulbs?"
    assert word_query(["how long is the warranty", "is a broken bulb covered"]) == "is a broken bulb covered"
    assert word_query(["bulbs?"]) == "bulbs?"


def test_the_relevance_is_the_share_of_the_words_that_the_passage_or_its_headings_have():
    location = PassageLocation("0" * 64, 0, 9, ("Care", "Washing"))
    finder = WordFinder(LexicalRetriever([Passage("By hand in lukewarm water.", location=location)]))
    (found,) = asyncio.run(finder.find(["washing water prices hand"], 2))
    assert (found.relevance, found.measure) == (0.75, "words")
