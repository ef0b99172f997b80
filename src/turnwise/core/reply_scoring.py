"""Ports of a scorer of replies: higher scores for replies that read more like those of people."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from turnwise.core.messages import Message
from turnwise.core.tools import Tool

BestOfRanking = Literal["likelihood", "discriminator"]
"""What ranks the choices of `best_of`: the mean log-probability of their tokens, or the model's discriminator."""


@dataclass(frozen=True, slots=True)
class ScoredReply:
    """A reply to score.

    Attributes:
        history: messages before it.
        reply: its text.
        tools: tools of the conversation.
    """

    history: tuple[Message, ...]
    reply: str
    tools: tuple[Tool, ...] = ()


class ReplyScorer(Protocol):
    """Scores replies to conversations."""

    def score(self, replies: Sequence[ScoredReply]) -> list[float]:
        """Scores in the order of `replies`; they can be compared between replies to the same history.

        Raises:
            TemplateError: the chat template rejects a history.
            TurnwiseError: a score is not finite.
        """


class ChoiceRanker(Protocol):
    """Scores the choices of one request."""

    async def score(self, prompt_ids: Sequence[int], replies: Sequence[str], *, tenant: str) -> list[float]:
        """Scores in the order of `replies`; the highest is the best. Computed outside the event loop.

        Args:
            prompt_ids: token ids of the prompt in the vocabulary of the chat model.
            replies: texts of the choices.
            tenant: who asks; tenants take turns.

        Raises:
            TurnwiseError: a score is not finite.
        """
