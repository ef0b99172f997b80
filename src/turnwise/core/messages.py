"""Messages and conversations: pure values; ids and time stamps belong to the store."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from turnwise.core.tools import Tool

ToolKind = Literal["function", "custom"]
CUSTOM_INPUT_KEY = "input"  # what a custom tool's one argument is called wherever it is written as a function's
Role = Literal["system", "developer", "user", "assistant", "tool"]
ROLES: frozenset[str] = frozenset(get_args(Role))


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool the assistant wants used. `arguments` is JSON as it was written, or a custom tool's free text."""

    id: str
    name: str
    arguments: str
    kind: ToolKind = "function"

    @property
    def parsed_arguments(self) -> Any:
        """The arguments as an object; as they were written where they are none."""
        if self.kind == "custom":
            return {CUSTOM_INPUT_KEY: self.arguments}
        try:
            parsed = json.loads(self.arguments)
        except (ValueError, RecursionError):
            return self.arguments
        return parsed if isinstance(parsed, dict) else self.arguments

    def as_dict(self) -> dict[str, Any]:
        """The call as chat templates want it."""
        return {"type": "function", "id": self.id, "function": {"name": self.name, "arguments": self.parsed_arguments}}


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: who speaks (`role`) and what is said (`content`).

    An assistant's message may hold `tool_calls`; a tool's names in `tool_call_id` the call that it answers. A `pinned`
    message stays when a conversation outgrows the model's context. Its `weight` is how much fine-tuning learns from it,
    if it is the assistant's: 0 leaves it out. Both are nobody's business but ours, so templates do not see them.
    """

    role: Role
    content: str
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    pinned: bool = False
    weight: float = 1.0

    @property
    def full_text(self) -> str:
        """The content and the tool calls, one JSON object a line; for counts and comparisons, not for a model."""
        calls = (json.dumps([call.name, call.arguments], ensure_ascii=False) for call in self.tool_calls)
        return "\n".join(filter(None, (self.content, *calls)))

    def as_dict(self) -> dict[str, Any]:
        """The message as chat templates and JSON want it; what is not set is left out."""
        plain: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.name is not None:
            plain["name"] = self.name
        if self.tool_calls:
            plain["tool_calls"] = [call.as_dict() for call in self.tool_calls]
        if self.tool_call_id is not None:
            plain["tool_call_id"] = self.tool_call_id
        return plain


@dataclass(frozen=True, slots=True)
class Conversation:
    """An ordered dialogue.

    Attributes:
        messages: what was said.
        meta: what a data set says about it (topic, intent, source).
        rejected: the same dialogue with an end that somebody found worse; empty where nobody compared.
        rating: whether somebody found its end good; None where nobody said.
        tools: definitions of the tools that the assistant may call in it.
    """

    messages: tuple[Message, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)
    rejected: tuple[Message, ...] = ()
    rating: bool | None = None
    tools: "tuple[Tool, ...]" = ()

    @property
    def is_synthetic(self) -> bool:
        """Whether its data set says that a machine wrote it."""
        return self.meta.get("generated") is True

    @property
    def num_turns(self) -> int:
        """How many messages a user or the assistant said."""
        return sum(message.role in ("user", "assistant") for message in self.messages)
