"""Self-chat: one model is the assistant, one, perhaps the same, plays the user.

The user's model reads the talk with the roles swapped: what the user said are its own turns. Everything that is drawn
depends on the seed and the dialogue's number alone, so more dialogues begin with the same ones.
"""

import hashlib
import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from turnwise.core.chat_request import ChatRequest, ContextOptions
from turnwise.core.chat_response import ChatResponse
from turnwise.core.errors import ContextLengthExceeded, InvalidParameter, TemplateError, Unavailable
from turnwise.core.messages import Conversation, Message
from turnwise.core.parameters import GenerationParams
from turnwise.data.fingerprint import normalize_text
from turnwise.synthesis.ordered_tasks import map_in_order
from turnwise.synthesis.scenario_file import ScenarioFile
from turnwise.synthesis.simulated_dialogue import ChatModel, EndReason, SimulatedDialogue

MAX_TOKENS = 256  # of a turn, where nothing else was asked


@dataclass(frozen=True, slots=True)
class _Plan:
    number: int
    scene: str
    assistant: str | None
    user: str | None
    opener: str
    exchanges: int


@dataclass(frozen=True)
class SelfChat:
    """Two parties and what they talk about.

    Args:
        assistant: the model whose replies are wanted.
        user: the model that plays the user.
        scenes: what they talk about.
        exchanges: fewest and most exchanges (a user's turn and its reply); how many is drawn for every dialogue.
        seed: another seed makes other dialogues.
        asked: generation parameters, for both.

    Raises `InvalidParameter` when a number is out of its range.
    """

    assistant: ChatModel
    user: ChatModel
    scenes: ScenarioFile
    exchanges: tuple[int, int] = (2, 6)
    seed: int = 0
    asked: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        fewest, most = self.exchanges
        if not 1 <= fewest <= most:
            raise InvalidParameter("turns", f"'turns' must be FEWEST:MOST, of at least 1, got {fewest}:{most}.")

    @property
    def request(self) -> dict[str, Any]:
        """Everything that decides what the dialogues are."""
        return {
            "scenes": self.scenes.model_dump(),
            "assistant": self.assistant.fingerprint,
            "user": self.user.fingerprint,
            "turns": list(self.exchanges),
            "seed": self.seed,
            "sampling": [
                asdict(GenerationParams.resolve(self.asked, by.defaults)) for by in (self.assistant, self.user)
            ],
        }

    async def simulate(self, number: int) -> SimulatedDialogue:
        """The dialogue of this number. Raises `TurnwiseError` when a model fails or refuses."""
        plan = self._plan(number)
        said, ended = [plan.opener], None
        while ended is None:
            text, ended = await self._next(plan, said)
            if ended is None:
                said.append(text)
                ended = self._is_over(plan, said)
        if len(said) % 2:
            said.pop()  # nobody replied to it
        return SimulatedDialogue(number, ended, self._conversation(plan, said, ended) if said else None)

    async def simulate_all(self, numbers: Sequence[int], at_once: int) -> AsyncGenerator[SimulatedDialogue, None]:
        """The dialogues of these numbers in their order, `at_once` under way. Raises as `hold` does."""
        async with aclosing(map_in_order(self.simulate, numbers, at_once)) as talks:
            async for talk in talks:
                yield talk

    def _plan(self, number: int) -> _Plan:
        rng = random.Random(f"{self.seed}:{number}")
        exchanges = rng.randint(*self.exchanges)
        return _Plan(number, *self.scenes.draw(rng), exchanges)

    async def _next(self, plan: _Plan, said: Sequence[str]) -> tuple[str, EndReason | None]:
        """The next turn, or why there is none."""
        digest = hashlib.sha256(f"{self.seed}:{plan.number}:{len(said)}".encode()).digest()
        asked = {"max_tokens": MAX_TOKENS, **self.asked, "seed": int.from_bytes(digest[:7], "big")}
        try:
            reply = await (self._reply if len(said) % 2 else self._ask)(plan, said, asked)
        except ContextLengthExceeded:
            return "", "context"
        text = reply.text.strip()
        if reply.finish_reason == "cancelled":
            raise Unavailable("The model was stopped.")
        if reply.finish_reason == "length":
            return "", "cut"
        if not text:
            return "", "empty"
        if self._repeats(text, said):
            return "", "loop"
        return text, None

    async def _reply(self, plan: _Plan, said: Sequence[str], asked: Mapping[str, Any]) -> ChatResponse:
        messages = (*_system(plan.assistant), *_turns(said, "user", "assistant"))
        return await self.assistant.reply(ChatRequest(messages, asked, context=ContextOptions("refuse")))

    async def _ask(self, plan: _Plan, said: Sequence[str], asked: Mapping[str, Any]) -> ChatResponse:
        turns = _turns(said, "assistant", "user")
        try:
            return await self.user.reply(
                ChatRequest((*_system(plan.user), *turns), asked, context=ContextOptions("refuse"))
            )
        except TemplateError:
            if plan.user is None:
                raise
            # Some templates know no system prompt, or want a user's turn first.
            messages = (Message("user", plan.user), *turns)
            return await self.user.reply(ChatRequest(messages, asked, context=ContextOptions("refuse")))

    def _repeats(self, text: str, said: Sequence[str]) -> bool:
        """Whether somebody said it before; a goodbye may be returned."""
        return not self.scenes.is_goodbye(text) and normalize_text(text) in map(normalize_text, said)

    def _is_over(self, plan: _Plan, said: Sequence[str]) -> EndReason | None:
        if len(said) % 2:
            return None  # the assistant has not answered yet
        if self.scenes.is_goodbye(said[-2]):
            return "goodbye"
        return "turns" if len(said) == 2 * plan.exchanges else None

    def _conversation(self, plan: _Plan, said: Sequence[str], ended: EndReason) -> Conversation:
        mark = {
            "generated": True,
            "by": "self-chat",
            "assistant": self.assistant.name,
            "user": self.user.name,
            "persona": plan.user,
            "scene": plan.scene,
            "seed": self.seed,
            "number": plan.number,
            "ended": ended,
        }
        messages = (*_system(plan.assistant), *_turns(said, "user", "assistant"))
        return Conversation(messages, {key: value for key, value in mark.items() if value is not None})


def _system(persona: str | None) -> tuple[Message, ...]:
    return () if persona is None else (Message("system", persona),)


def _turns(
    said: Sequence[str], first: Literal["user", "assistant"], second: Literal["user", "assistant"]
) -> list[Message]:
    return [Message(second if place % 2 else first, text) for place, text in enumerate(said)]
