"""Few-shot demonstrations: dialogues before the real one, selected by similarity to its first user message."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from turnwise.core.exchanges import SYSTEM_ROLES
from turnwise.core.messages import Message

# Words; in scripts without spaces, such as Chinese, single characters.
_WORD = re.compile(r"[^\W\u3040-\u30ff\u4e00-\u9fff]+|[\u3040-\u30ff\u4e00-\u9fff]")
K1, B = 1.5, 0.75  # BM25: saturation of the term frequency, strength of the length normalization


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
        """Indices of the best dialogues by BM25 (Robertson & Zaragoza 2009), best last; the first of equals."""
        terms = Counter(_split_terms(query))
        scores = [sum(self._term_weight(term, number) for term in terms) for number in range(len(self.dialogues))]
        order = sorted(range(len(scores)), key=lambda number: (-scores[number], number))
        return order[: self.shots][::-1]

    @cached_property
    def _term_counts(self) -> list[Counter[str]]:
        return [Counter(_split_terms(" ".join(m.content for m in d if m.role == "user"))) for d in self.dialogues]

    @cached_property
    def _idf(self) -> dict[str, float]:
        """log(1 + (N − n + ½) / (n + ½)) of each term, where n dialogues contain it."""
        frequencies = Counter(term for counts in self._term_counts for term in counts)
        total = len(self._term_counts)
        return {term: math.log(1 + (total - n + 0.5) / (n + 0.5)) for term, n in frequencies.items()}

    @cached_property
    def _relative_lengths(self) -> list[float]:
        """Number of terms of each dialogue, divided by the mean."""
        sizes = [counts.total() for counts in self._term_counts]
        mean = sum(sizes) / max(1, len(sizes)) or 1.0
        return [size / mean for size in sizes]

    def _term_weight(self, term: str, number: int) -> float:
        count = self._term_counts[number][term]
        if not count:
            return 0.0
        return self._idf[term] * count * (K1 + 1) / (count + K1 * (1 - B + B * self._relative_lengths[number]))


def _split_terms(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
