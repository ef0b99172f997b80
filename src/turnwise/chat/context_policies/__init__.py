"""Context policies: what becomes of a conversation that the model's context does not hold. One file each, by its name.

A policy has `shorten(messages, room) -> Shortened | None`; None leaves the messages as they are. It is asked only when
the messages leave less room for the answer than `room.limit` says. Whatever it does

* the messages it gives back are some of those it got, in their order; only a summary may be added to one of them,
* system and developer messages, pinned messages and the last user message are among them,
* a round stays or goes as a whole (`chat.rounds`), so that every tool's message has its call and roles still alternate,
* or it gives all messages back, and says which of their tokens are read (`sliding_window`).

Where what it gives back does not fit either, the request is refused as if there were no policy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Protocol, cast

from turnwise.chat.summary_cache import SummaryCache
from turnwise.core.chat_request import ContextReport, Usage
from turnwise.core.errors import InvalidParameter, did_you_mean
from turnwise.core.messages import Message

DEFAULT_CONTEXT_POLICY = "refuse"


class ContextBudget(Protocol):
    """What a policy may ask about the model. Lengths are in tokens, of prompts as the model would read them."""

    @property
    def context_length(self) -> int:
        """Most tokens of prompt and answer together."""

    @property
    def max_prompt_tokens(self) -> int:
        """Most tokens of a prompt that leaves the answer its room."""

    @property
    def summaries(self) -> SummaryCache:
        """Summaries that were written before."""

    @property
    def scope(self) -> str:
        """Whose summaries may be used; they are part of what `chat.summaries.keys` are made of."""

    async def prompt_tokens(self, messages: Sequence[Message]) -> int:
        """The length of the prompt with these messages. Raises `TemplateError` where the template refuses them."""

    async def system_tokens(self, messages: Sequence[Message]) -> int:
        """The length of the system messages that the prompt begins with; 0 where there are none."""

    async def shows_message(self, messages: Sequence[Message], index: int) -> bool:
        """Whether the template accepts these messages and writes out what the one at `index` says."""

    async def text_tokens(self, text: str) -> int:
        """The length of the prompt that has this text as its only message."""

    async def write(self, text: str, most: int) -> tuple[str, Usage]:
        """The model's own, greedy answer to this text, of at most `most` tokens, and what it took."""


@dataclass(frozen=True, slots=True)
class Truncated:
    """The messages that the model reads instead, of a `window` the first and last tokens, and what is told of it."""

    messages: tuple[Message, ...]
    report: ContextReport
    window: tuple[int, int] | None = None


class ContextPolicy(Protocol):
    """What a policy file offers."""

    async def truncate(self, messages: tuple[Message, ...], room: ContextBudget) -> Truncated | None:
        """Fewer messages, or None for those there are."""


@cache
def load_context_policies() -> Mapping[str, ContextPolicy]:
    """All policies by name."""
    names = sorted(module.name for module in iter_modules(__path__))
    return {name: cast(ContextPolicy, import_module(f"{__name__}.{name}")) for name in names}


def get_context_policy(name: str) -> ContextPolicy:
    """A policy by its name. Raises `InvalidParameter`."""
    found = load_context_policies().get(name)
    if found is None:
        raise InvalidParameter(
            "context_policy",
            f"Unknown context policy '{name[:60]}': {did_you_mean(name[:60], load_context_policies())}",
        )
    return found
