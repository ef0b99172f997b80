"""Cache of summaries, by the exchanges that they cover. Avoids a new summary for every request."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence

from turnwise.core.chat_response import ConversationSummary
from turnwise.core.exchanges import Exchange
from turnwise.core.messages import Message

MAX_SUMMARIES = 256  # a few kilobytes each


class SummaryCache:
    """LRU cache in memory."""

    def __init__(self, max_summaries: int = MAX_SUMMARIES) -> None:
        self._max_summaries = max_summaries
        self._summaries: OrderedDict[bytes, ConversationSummary] = OrderedDict()

    def get(self, key: bytes) -> ConversationSummary | None:
        """The summary for a key of `summary_keys`, or None."""
        summary = self._summaries.get(key)
        if summary is not None:
            self._summaries.move_to_end(key)
        return summary

    def put(self, key: bytes, summary: ConversationSummary) -> None:
        """Store a summary. Evicts the least recently used one if the cache is full."""
        self._summaries[key] = summary
        self._summaries.move_to_end(key)
        if len(self._summaries) > self._max_summaries:
            self._summaries.popitem(last=False)


def summary_keys(messages: Sequence[Message], exchanges: Sequence[Exchange], scope: str) -> Iterator[bytes]:
    """Keys for the first exchange, the first two, and so on: a digest of the scope and of all messages in them.

    The scope prevents a timing side channel: a cached summary would reveal that somebody else sent the same messages.
    """
    digest = hashlib.sha256(repr(scope).encode())
    for exchange in exchanges:
        digest.update(repr([messages[index] for index in exchange]).encode())
        yield digest.digest()
