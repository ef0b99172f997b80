"""Context policies: how to shorten a conversation that exceeds the context. One file per policy.

A policy defines `truncate(messages, budget) -> Truncated | None`; None leaves the messages unchanged. It is called only
if the prompt is longer than `budget.max_prompt_tokens`, or always if the module sets `APPLIES_ALWAYS = True`. Its
result

* is a subsequence of the messages; a summary or a note may be added to one of them,
* contains system and developer messages, pinned messages and the last user message,
* contains exchanges completely or not at all (`core.exchanges`), so that every tool message has its tool call and roles
  still alternate,
* or contains all messages and a window of tokens (`sliding_window`).

If the result does not fit either, the request is rejected as without a policy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from turnwise.chat.summary_cache import SummaryCache
from turnwise.core.chat_response import ContextReport, Usage
from turnwise.core.messages import Message
from turnwise.core.plugins import PluginGroup

DEFAULT_CONTEXT_POLICY = "refuse"


class ContextBudget(Protocol):
    """Token counts and other information for a policy. All lengths are in tokens of the rendered prompt."""

    @property
    def context_length(self) -> int:
        """Maximum number of tokens of prompt and response together."""

    @property
    def max_prompt_tokens(self) -> int:
        """Maximum prompt length that leaves enough context for the response."""

    @property
    def summaries(self) -> SummaryCache:
        """Cache of summaries."""

    @property
    def scope(self) -> str:
        """Namespace of the summary cache; part of its keys."""

    async def prompt_tokens(self, messages: Sequence[Message]) -> int:
        """Length of the prompt with these messages. Raises `TemplateError` if the template rejects them."""

    async def system_tokens(self, messages: Sequence[Message]) -> int:
        """Length of the leading system messages; 0 if there are none."""

    async def shows_message(self, messages: Sequence[Message], index: int) -> bool:
        """True if the template accepts the messages and includes the content of message `index`."""

    async def text_tokens(self, text: str) -> int:
        """Length of the prompt with `text` as its only message."""

    async def write(self, text: str, max_tokens: int) -> tuple[str, Usage]:
        """The model's greedy response to `text`, of at most `max_tokens` tokens, and the usage."""


@dataclass(frozen=True, slots=True)
class Truncated:
    """A shortened conversation.

    Attributes:
        messages: messages to render.
        report: report for the client.
        window: (first, last): use only the first and the last so many tokens.
    """

    messages: tuple[Message, ...]
    report: ContextReport
    window: tuple[int, int] | None = None


class ContextPolicy(Protocol):
    """Interface of a policy module."""

    async def truncate(self, messages: tuple[Message, ...], budget: ContextBudget) -> Truncated | None:
        """The shortened conversation, or None to change nothing."""


CONTEXT_POLICIES: PluginGroup[ContextPolicy] = PluginGroup(
    "context policy", "context_policies", (__name__, __path__), requires=("truncate",), parameter="context_policy"
)
