"""A retriever that ranks passages by the words they share with the query."""

from collections.abc import Iterable

from turnwise.core.retrieval import Passage, RetrievedPassage
from turnwise.text.lexical_search import LexicalIndex


class LexicalRetriever:
    """Ranks passages by BM25 of their texts (implements `core.retrieval.Retriever`).

    Of equally similar passages the first one comes first.

    Args:
        passages: the passages to search.
    """

    def __init__(self, passages: Iterable[Passage]) -> None:
        self._passages = tuple(passages)
        self._index = LexicalIndex(passage.text for passage in self._passages)

    def search(self, query: str, k: int) -> list[RetrievedPassage]:
        """The `k` most similar passages, best first; only passages that share a word with the query."""
        return [RetrievedPassage(self._passages[m.index], m.score) for m in self._index.search(query, k)]
