"""Summaries that were written, by what they tell of: a long chat is not summarised anew at every turn."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence

from turnwise.core.chat_request import ConversationSummary
from turnwise.core.exchanges import Exchange
from turnwise.core.messages import Message

MAX_SUMMARIES = 256  # some kilobytes each


class SummaryCache:
    """Keeps the latest used ones, in memory only."""

    def __init__(self, most: int = MAX_SUMMARIES) -> None:
        self._most = most
        self._kept: OrderedDict[bytes, ConversationSummary] = OrderedDict()

    def get(self, key: bytes) -> ConversationSummary | None:
        """The summary under a key of `keys`."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: bytes, summary: ConversationSummary) -> None:
        """Remember a summary; the one unused for longest is forgotten for it."""
        self._kept[key] = summary
        self._kept.move_to_end(key)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)


def summary_keys(messages: Sequence[Message], old: Sequence[Exchange], scope: str) -> Iterator[bytes]:
    """A key for the first round, for the first two, and so on: a digest of all that is said in them, and of the scope.

    Nobody finds a summary that was written for somebody else: how soon an answer comes would tell what others said.
    """
    digest = hashlib.sha256(repr(scope).encode())
    for places in old:
        digest.update(repr([messages[place] for place in places]).encode())
        yield digest.digest()
