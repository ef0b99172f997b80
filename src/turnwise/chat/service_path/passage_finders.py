"""Finds passages that may answer a message, each with its relevance.

What addresses a model is left out of the passages (see `passage_filter`), and does not count for their relevance.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from turnwise.chat.service_path.passage_filter import readable_passage
from turnwise.chat.service_path.text_evidence import content_words, overlap
from turnwise.core.retrieval import Passage, Retriever, merge_rankings

SHORT_QUERY_WORDS = 2  # with fewer content words, the message before belongs to the question

Measure = Literal["words", "similarity"]
"""What a relevance is: the share of the message's content words in the passage, or the similarity of their vectors."""


@dataclass(frozen=True, slots=True)
class ScoredPassage:
    """A passage and its relevance.

    Attributes:
        passage: the passage without what addresses a model.
        original: the passage as the document has it.
        relevance: how relevant it is; higher is more relevant.
        measure: what `relevance` is.
    """

    passage: Passage
    original: Passage
    relevance: float
    measure: Measure


class PassageFinder(Protocol):
    """Finds passages for the last message of a customer."""

    async def find(self, messages: Sequence[str], k: int) -> list[ScoredPassage]:
        """At most `k` passages, best first.

        Args:
            messages: the customer's messages, the question last; at least one.
            k: maximum number of passages.

        Raises:
            TurnwiseError: the embedding model failed.
        """


class WordFinder:
    """Finds passages with any retriever, and measures their relevance by words."""

    def __init__(self, retriever: Retriever) -> None:
        """Search with `retriever`."""
        self._retriever = retriever

    async def find(self, messages: Sequence[str], k: int) -> list[ScoredPassage]:
        """See `PassageFinder.find`."""
        query = word_query(messages)
        retrieved = await asyncio.to_thread(self._retriever.search, query, k)
        return [
            ScoredPassage(passage, item.passage, _word_relevance(query, passage), "words")
            for item in retrieved
            if (passage := readable_passage(item.passage)) is not None
        ]


class MergedFinder:
    """Takes passages of several finders in turn, because their measures differ."""

    def __init__(self, finders: Sequence[PassageFinder]) -> None:
        """Search with all of `finders`."""
        self._finders = tuple(finders)

    async def find(self, messages: Sequence[str], k: int) -> list[ScoredPassage]:
        """See `PassageFinder.find`."""
        return merge_rankings(await asyncio.gather(*(finder.find(messages, k) for finder in self._finders)), k)


def word_query(messages: Sequence[str]) -> str:
    """The last message, after the one before it if it is very short."""
    if len(messages) > 1 and len(content_words(messages[-1])) < SHORT_QUERY_WORDS:
        return f"{messages[-2]}\n{messages[-1]}"
    return messages[-1]


def _word_relevance(query: str, passage: Passage) -> float:
    """Share of the query's content words that a passage has, with its source and headings."""
    headings = () if passage.location is None else passage.location.headings
    return overlap(query, content_words("\n".join([passage.source, *headings, passage.text])))
