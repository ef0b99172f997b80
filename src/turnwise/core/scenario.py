"""A scenario: what a conversation is about, in chats, simulated dialogues and test cases alike."""

from collections.abc import Iterable
from dataclasses import dataclass

from turnwise.core.messages import Message


@dataclass(frozen=True, slots=True)
class Scenario:
    """The fixed texts of a conversation.

    Attributes:
        name: name of the scenario; empty if it has none.
        system_prompt: system prompt of the assistant; None or "" for none.
        user_persona: system prompt of a model that plays the user.
        first_message: first message of a simulated user; empty if it has none.
    """

    name: str = ""
    system_prompt: str | None = None
    user_persona: str | None = None
    first_message: str = ""

    def prepend_to(self, messages: Iterable[Message]) -> tuple[Message, ...]:
        """The messages that the assistant sees: the system prompt, if there is one, and `messages`."""
        system = (Message("system", self.system_prompt),) if self.system_prompt else ()
        return (*system, *messages)
