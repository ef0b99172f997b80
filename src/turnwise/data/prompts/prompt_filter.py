"""Filters prompts that are new and not questions of the golden set, which a model must not be trained on."""

from pathlib import Path

from turnwise.core.messages import Message
from turnwise.data.fingerprint import normalize_text

GOLDEN_SET_QUESTIONS = Path(__file__).parent / "golden_set_questions.txt"
MIN_LETTERS = 8  # shorter texts that differ in one letter often mean something else


class PromptFilter:
    """Accepts a prompt once, unless its question is in the golden set, exactly or with one typo."""

    def __init__(self) -> None:
        self._accepted: set[tuple[Message, ...]] = set()
        questions = GOLDEN_SET_QUESTIONS.read_text(encoding="utf-8").splitlines()
        self._excluded = {key for question in questions for key in _typo_keys(question)}

    def accept(self, history: tuple[Message, ...]) -> bool:
        """Return True, and remember the prompt, if it may be used."""
        if history in self._accepted or self.is_golden_question(history[-1].content):
            return False
        self._accepted.add(history)
        return True

    def is_golden_question(self, text: str) -> bool:
        """True if the golden set has this question, exactly or with one typo."""
        return not self._excluded.isdisjoint(_typo_keys(text))


def _typo_keys(text: str) -> set[str]:
    """Return the letters of a text, and the letters without each one of them.

    Two texts that differ by one added, missing, wrong or swapped letter have a key in common.
    """
    letters = normalize_text(text).replace(" ", "")
    return {letters} | {letters[:at] + letters[at + 1 :] for at in range(len(letters)) if len(letters) >= MIN_LETTERS}
