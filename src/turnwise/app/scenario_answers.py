"""Answers to the test conversations of a scenario."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from turnwise.scenarios.dialogues import TestConversation

OnAnswersDone = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class ScenarioAnswer:
    """An answer.

    Attributes:
        text: its text.
        decision: what answered, as in `TestConversation.decisions`.
        steps: outcome of every step of the service path that did something, as "step: outcome".
    """

    text: str
    decision: str
    steps: tuple[str, ...] = ()


AnswerConversations = Callable[[Sequence[tuple[TestConversation, int]], OnAnswersDone], list[ScenarioAnswer]]
"""Answers conversations, each with a random seed, in order."""
