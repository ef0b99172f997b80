"""Few-shot demonstrations: dialogues before the real one, selected by similarity to its first user message."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from turnwise.core.exchanges import SYSTEM_ROLES
from turnwise.core.messages import Message
from turnwise.text.lexical_search import LexicalIndex


@dataclass(frozen=True)
class Demonstrations:
    """Dialogues of which the most similar ones are inserted.

    Attributes:
        dialogues: the candidates.
        shots: number of dialogues to insert. The most similar one comes last, next to the real dialogue.
    """

    dialogues: tuple[tuple[Message, ...], ...]
    shots: int

    def select(self, messages: Sequence[Message]) -> tuple[int, list[Message]]:
        """The index in `messages` at which to insert demonstrations, and their messages.

        The selection depends only on the first user message, so it does not change during a dialogue.
        """
        index = next((i for i, message in enumerate(messages) if message.role not in SYSTEM_ROLES), len(messages))
        query = next((message.content for message in messages if message.role == "user"), "")
        return index, [message for number in self._rank(query) for message in self.dialogues[number]]

    def _rank(self, query: str) -> list[int]:
        """Indices of the most similar dialogues, best last; dialogues without a word of the query fill up."""
        matches = [match.index for match in self._index.search(query, self.shots, count_repeats=False)]
        unmatched = (number for number in range(len(self.dialogues)) if number not in matches)
        return [*matches, *itertools.islice(unmatched, self.shots - len(matches))][::-1]

    @cached_property
    def _index(self) -> LexicalIndex:
        """Index of the user messages of each dialogue."""
        return LexicalIndex(" ".join(m.content for m in d if m.role == "user") for d in self.dialogues)
