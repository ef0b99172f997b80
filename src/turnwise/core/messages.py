"""Messages and conversations: plain values. Ids and time stamps belong to the store."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from turnwise.core.tools import Tool

ToolKind = Literal["function", "custom"]
CUSTOM_INPUT_KEY = "input"  # name of a custom tool's argument when it is written as a function
Role = Literal["system", "developer", "user", "assistant", "tool"]
ROLES: frozenset[str] = frozenset(get_args(Role))


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call of the assistant. `arguments` is the JSON text as generated, or the free text of a custom tool."""

    id: str
    name: str
    arguments: str
    kind: ToolKind = "function"

    @property
    def parsed_arguments(self) -> Any:
        """The arguments as an object, or the text itself if it is not a JSON object."""
        if self.kind == "custom":
            return {CUSTOM_INPUT_KEY: self.arguments}
        try:
            parsed = json.loads(self.arguments)
        except (ValueError, RecursionError):
            return self.arguments
        return parsed if isinstance(parsed, dict) else self.arguments

    def as_dict(self) -> dict[str, Any]:
        """The call in OpenAI's format, for chat templates."""
        return {"type": "function", "id": self.id, "function": {"name": self.name, "arguments": self.parsed_arguments}}


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a conversation.

    Attributes:
        role: author of the message.
        content: text.
        name: name of the author.
        tool_calls: tool calls of an assistant message.
        tool_call_id: id of the tool call that a tool message answers.
        pinned: never drop the message when the conversation exceeds the context. Not passed to templates.
        weight: loss weight of an assistant message in fine-tuning; 0 excludes it. Not passed to templates.
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
        """Content and tool calls, one per line, for counting and comparing. It is not a prompt."""
        calls = (json.dumps([call.name, call.arguments], ensure_ascii=False) for call in self.tool_calls)
        return "\n".join(filter(None, (self.content, *calls)))

    def as_dict(self) -> dict[str, Any]:
        """The message in OpenAI's format, without unset fields."""
        plain: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.name is not None:
            plain["name"] = self.name
        if self.tool_calls:
            plain["tool_calls"] = [call.as_dict() for call in self.tool_calls]
        if self.tool_call_id is not None:
            plain["tool_call_id"] = self.tool_call_id
        return plain


@dataclass(frozen=True, slots=True)
class Question:
    """What a conversation asks, without what was said before.

    Attributes:
        text: text of the last user message; empty if there is none.
        instructions: texts of the system and developer messages, one below the other.
    """

    text: str = ""
    instructions: str = ""


def last_question(messages: Iterable[Message]) -> Question:
    """The question that the next answer replies to."""
    messages = tuple(messages)
    text = next((message.content for message in reversed(messages) if message.role == "user"), "")
    return Question(text, "\n".join(m.content for m in messages if m.role in ("system", "developer")))


@dataclass(frozen=True, slots=True)
class Conversation:
    """A dialogue of a data set.

    Attributes:
        messages: messages in order.
        meta: metadata of the data set (topic, intent, source).
        rejected: the same dialogue with the rejected ending of a preference pair; empty if there is none.
        rating: True if the ending was rated good, False if bad, None if not rated.
        tools: tools that the assistant may call.
    """

    messages: tuple[Message, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)
    rejected: tuple[Message, ...] = ()
    rating: bool | None = None
    tools: "tuple[Tool, ...]" = ()

    @property
    def is_synthetic(self) -> bool:
        """True if the metadata marks the dialogue as machine-generated."""
        return self.meta.get("generated") is True

    @property
    def num_turns(self) -> int:
        """Number of user and assistant messages."""
        return sum(message.role in ("user", "assistant") for message in self.messages)
