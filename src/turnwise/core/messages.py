"""Messages and conversations: pure values; ids and time stamps belong to the store."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Role = Literal["system", "developer", "user", "assistant", "tool"]
ROLES: frozenset[str] = frozenset(get_args(Role))


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: who speaks (`role`) and what is said (`content`)."""

    role: Role
    content: str
    name: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The message as chat templates and JSON want it; `name` only where it is set."""
        plain: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.name is not None:
            plain["name"] = self.name
        return plain


@dataclass(frozen=True, slots=True)
class Conversation:
    """An ordered dialogue. `meta` carries what a data set says about it (topic, intent, source)."""

    messages: tuple[Message, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def turns(self) -> int:
        """How many messages a user or the assistant said."""
        return sum(message.role in ("user", "assistant") for message in self.messages)
