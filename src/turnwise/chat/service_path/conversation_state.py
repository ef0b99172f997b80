"""What the service path remembers of a conversation. It belongs to one conversation only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_ATTEMPTS = 10  # decisions that a person sees


@dataclass(slots=True)
class ConversationState:
    """The state between two messages.

    Attributes:
        language: language of the last message; empty before the first one.
        slots: values that the customer gave, by slot.
        pending_intent, pending_slot: the question that was asked last; empty without one.
        num_asked: how often it was asked in a row.
        offered: the intents of the last clarifying question.
        clarifications: questions back in a row; those for the value of a slot do not count.
        attempts: decisions of the last answers, oldest first.
    """

    language: str = ""
    slots: dict[str, str] = field(default_factory=dict)
    pending_intent: str = ""
    pending_slot: str = ""
    num_asked: int = 0
    offered: tuple[str, ...] = ()
    clarifications: int = 0
    attempts: tuple[str, ...] = ()

    def record(self, decision: str) -> None:
        """Remember a decision."""
        self.attempts = (*self.attempts, decision)[-MAX_ATTEMPTS:]
        is_question_back = decision == "clarify" and not self.pending_slot
        self.clarifications = self.clarifications + 1 if is_question_back else 0

    def ask(self, intent: str, slot: str) -> None:
        """Remember that the value of a slot was asked for."""
        self.num_asked = self.num_asked + 1 if slot == self.pending_slot else 1
        self.pending_intent, self.pending_slot, self.offered = intent, slot, ()

    def clear_question(self) -> None:
        """Forget the last question."""
        self.pending_intent = self.pending_slot = ""
        self.num_asked, self.offered = 0, ()

    def as_dict(self) -> dict[str, Any]:
        """The state as JSON."""
        return {
            "language": self.language, "slots": dict(self.slots), "pending_intent": self.pending_intent,
            "pending_slot": self.pending_slot, "num_asked": self.num_asked, "offered": list(self.offered),
            "clarifications": self.clarifications, "attempts": list(self.attempts),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ConversationState":
        """Read the result of `as_dict`."""
        return cls(
            values.get("language", ""), dict(values.get("slots", {})), values.get("pending_intent", ""),
            values.get("pending_slot", ""), values.get("num_asked", 0), tuple(values.get("offered", ())),
            values.get("clarifications", 0), tuple(values.get("attempts", ())),
        )  # fmt: skip
