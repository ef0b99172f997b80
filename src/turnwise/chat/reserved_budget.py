"""A context budget that leaves space for what is added to the messages afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass

from turnwise.chat.context_policies import ContextBudget
from turnwise.chat.summary_cache import SummaryCache
from turnwise.core.chat_response import Usage
from turnwise.core.messages import Message


@dataclass(frozen=True, slots=True)
class ReservedBudget:
    """Another budget, with a lower prompt limit (the `context_policies.ContextBudget` port).

    Attributes:
        budget: the budget.
        reserve: tokens to leave.
    """

    budget: ContextBudget
    reserve: int

    @property
    def context_length(self) -> int:
        """As in the budget."""
        return self.budget.context_length

    @property
    def max_prompt_tokens(self) -> int:
        """The limit of the budget without the reserve."""
        return self.budget.max_prompt_tokens - self.reserve

    @property
    def summaries(self) -> SummaryCache:
        """As in the budget."""
        return self.budget.summaries

    @property
    def scope(self) -> str:
        """As in the budget."""
        return self.budget.scope

    async def prompt_tokens(self, messages: Sequence[Message]) -> int:
        """As in the budget."""
        return await self.budget.prompt_tokens(messages)

    async def system_tokens(self, messages: Sequence[Message]) -> int:
        """As in the budget."""
        return await self.budget.system_tokens(messages)

    async def shows_message(self, messages: Sequence[Message], index: int) -> bool:
        """As in the budget."""
        return await self.budget.shows_message(messages, index)

    async def text_tokens(self, text: str) -> int:
        """As in the budget."""
        return await self.budget.text_tokens(text)

    async def write(self, text: str, max_tokens: int) -> tuple[str, Usage]:
        """As in the budget."""
        return await self.budget.write(text, max_tokens)
