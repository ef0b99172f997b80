"""Dialogues that are shown to a model before the real one, chosen for each by how it opens (few-shot prompting)."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from turnwise.core.messages import Message

# Words where a script parts them; single characters where it does not, as in Chinese.
_WORD = re.compile(r"[^\W\u3040-\u30ff\u4e00-\u9fff]+|[\u3040-\u30ff\u4e00-\u9fff]")
K1, B = 1.5, 0.75  # how soon a word's repetition stops to count, and how much long texts are held back
BEFORE = ("system", "developer")  # messages that stay in front


@dataclass(frozen=True)
class Demonstrations:
    """Dialogues of which the most similar ones are shown.

    Attributes:
        dialogues: to choose from.
        shots: how many to show; the most similar one last, next to the real dialogue.
    """

    dialogues: tuple[tuple[Message, ...], ...]
    shots: int

    def select(self, messages: Sequence[Message]) -> tuple[int, list[Message]]:
        """Where demonstrations go into a dialogue, and which.

        They depend on its first user turn alone, so that they stay the same from turn to turn.
        """
        at = next((i for i, message in enumerate(messages) if message.role not in BEFORE), len(messages))
        opening = next((message.content for message in messages if message.role == "user"), "")
        return at, [message for number in self._nearest(opening) for message in self.dialogues[number]]

    def _nearest(self, text: str) -> list[int]:
        """By BM25 (Robertson & Zaragoza 2009); the nearest last, the first of equals."""
        asked = Counter(_words(text))
        scores = [sum(self._weight(word, number) for word in asked) for number in range(len(self.dialogues))]
        order = sorted(range(len(scores)), key=lambda number: (-scores[number], number))
        return order[: self.shots][::-1]

    @cached_property
    def _counts(self) -> list[Counter[str]]:
        return [Counter(_words(" ".join(m.content for m in d if m.role == "user"))) for d in self.dialogues]

    @cached_property
    def _rarity(self) -> dict[str, float]:
        """log(1 + (N − n + ½) / (n + ½)) of each word, n being the dialogues it occurs in."""
        found = Counter(word for counts in self._counts for word in counts)
        return {word: math.log(1 + (len(self._counts) - n + 0.5) / (n + 0.5)) for word, n in found.items()}

    @cached_property
    def _lengths(self) -> list[float]:
        """Words of each dialogue, by the mean."""
        sizes = [counts.total() for counts in self._counts]
        mean = sum(sizes) / max(1, len(sizes)) or 1.0
        return [size / mean for size in sizes]

    def _weight(self, word: str, number: int) -> float:
        times = self._counts[number][word]
        if not times:
            return 0.0
        return self._rarity[word] * times * (K1 + 1) / (times + K1 * (1 - B + B * self._lengths[number]))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
