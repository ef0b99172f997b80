"""Self-chat: one model plays the user and another one, or the same, answers as the assistant.

The user model sees the dialogue with swapped roles: messages of the user are its own replies. All random choices depend
on the seed and the number of the dialogue only. A longer run therefore starts with the dialogues of a shorter one.
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
from turnwise.core.ordered_results import async_results_in_order
from turnwise.core.parameters import GenerationParams
from turnwise.core.scenario import Scenario
from turnwise.data.fingerprint import normalize_text
from turnwise.synthesis.scenario_file import ScenarioFile
from turnwise.synthesis.simulated_dialogue import ChatModel, EndReason, SimulatedDialogue

MAX_TOKENS = 256  # of one message, unless the sampling parameters set `max_tokens`


@dataclass(frozen=True, slots=True)
class _DialoguePlan:
    """The random choices for one dialogue."""

    number: int
    scenario: Scenario
    num_exchanges: int


@dataclass(frozen=True)
class SelfChat:
    """Simulates dialogues between two models.

    Texts of a dialogue alternate: those at even indices are the user's, those at odd indices the assistant's.

    Args:
        assistant: model that answers.
        user: model that plays the user.
        scenarios: system prompts and first messages.
        exchanges: minimum and maximum number of exchanges (a user message and its reply); drawn for each dialogue.
        seed: random seed.
        sampling: generation parameters of both models.

    Raises `InvalidParameter` if `exchanges` is not a range of positive numbers.
    """

    assistant: ChatModel
    user: ChatModel
    scenarios: ScenarioFile
    exchanges: tuple[int, int] = (2, 6)
    seed: int = 0
    sampling: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        minimum, maximum = self.exchanges
        if not 1 <= minimum <= maximum:
            raise InvalidParameter(
                "exchanges", f"'exchanges' must be MIN:MAX with 1 <= MIN <= MAX, got {minimum}:{maximum}."
            )

    @property
    def settings(self) -> dict[str, Any]:
        """All settings that the dialogues depend on, as JSON values."""
        return {
            "scenarios": self.scenarios.model_dump(),
            "assistant": self.assistant.fingerprint,
            "user": self.user.fingerprint,
            "exchanges": list(self.exchanges),
            "seed": self.seed,
            "sampling": [
                asdict(GenerationParams.resolve(self.sampling, model.defaults)) for model in (self.assistant, self.user)
            ],
        }

    async def simulate(self, number: int) -> SimulatedDialogue:
        """Simulate the dialogue with this number. Raises `TurnwiseError` if a model fails or rejects a request."""
        plan = self._plan(number)
        texts = [plan.scenario.first_message]
        end_reason: EndReason | None = None
        while end_reason is None:
            text, end_reason = await self._next_text(plan, texts)
            if end_reason is None:
                texts.append(text)
                end_reason = self._end_reason(plan, texts)
        if len(texts) % 2:
            texts.pop()  # the last user message has no reply
        return SimulatedDialogue(number, end_reason, self._conversation(plan, texts, end_reason) if texts else None)

    async def simulate_all(self, numbers: Sequence[int], max_in_flight: int) -> AsyncGenerator[SimulatedDialogue, None]:
        """Yield the dialogues with these numbers in order; at most `max_in_flight` run at the same time.

        Raises as `simulate` does.
        """
        async with aclosing(async_results_in_order(self.simulate, numbers, max_in_flight)) as dialogues:
            async for dialogue in dialogues:
                yield dialogue

    def _plan(self, number: int) -> _DialoguePlan:
        rng = random.Random(f"{self.seed}:{number}")
        num_exchanges = rng.randint(*self.exchanges)
        return _DialoguePlan(number, self.scenarios.draw(rng), num_exchanges)

    async def _next_text(self, plan: _DialoguePlan, texts: Sequence[str]) -> tuple[str, EndReason | None]:
        """The text of the next message, or the reason why there is none."""
        digest = hashlib.sha256(f"{self.seed}:{plan.number}:{len(texts)}".encode()).digest()
        sampling = {"max_tokens": MAX_TOKENS, **self.sampling, "seed": int.from_bytes(digest[:7], "big")}
        generate = self._assistant_response if len(texts) % 2 else self._user_response
        try:
            response = await generate(plan, texts, sampling)
        except ContextLengthExceeded:
            return "", "context_length"
        text = response.text.strip()
        if response.finish_reason == "cancelled":
            raise Unavailable("The model was stopped.")
        if response.finish_reason == "length":
            return "", "length"
        if not text:
            return "", "empty"
        if self._is_repetition(text, texts):
            return "", "repetition"
        return text, None

    async def _assistant_response(
        self, plan: _DialoguePlan, texts: Sequence[str], sampling: Mapping[str, Any]
    ) -> ChatResponse:
        messages = plan.scenario.prepend_to(_messages(texts, "user", "assistant"))
        return await _respond(self.assistant, messages, sampling)

    async def _user_response(
        self, plan: _DialoguePlan, texts: Sequence[str], sampling: Mapping[str, Any]
    ) -> ChatResponse:
        persona = plan.scenario.user_persona
        messages = _messages(texts, "assistant", "user")
        try:
            return await _respond(self.user, Scenario(system_prompt=persona).prepend_to(messages), sampling)
        except TemplateError:
            if persona is None:
                raise
            # Some chat templates reject system messages, or dialogues that do not begin with a user message.
            return await _respond(self.user, [Message("user", persona), *messages], sampling)

    def _is_repetition(self, text: str, texts: Sequence[str]) -> bool:
        """True if a message repeats an earlier one. A goodbye may be repeated."""
        return not self.scenarios.is_goodbye(text) and normalize_text(text) in map(normalize_text, texts)

    def _end_reason(self, plan: _DialoguePlan, texts: Sequence[str]) -> EndReason | None:
        if len(texts) % 2:
            return None  # the assistant has not answered yet
        if self.scenarios.is_goodbye(texts[-2]):
            return "goodbye"
        return "max_exchanges" if len(texts) == 2 * plan.num_exchanges else None

    def _conversation(self, plan: _DialoguePlan, texts: Sequence[str], end_reason: EndReason) -> Conversation:
        meta = {
            "generated": True,
            "generator": "self-chat",
            "assistant": self.assistant.name,
            "user": self.user.name,
            "persona": plan.scenario.user_persona,
            "scenario": plan.scenario.name,
            "seed": self.seed,
            "number": plan.number,
            "end_reason": end_reason,
        }
        messages = plan.scenario.prepend_to(_messages(texts, "user", "assistant"))
        return Conversation(messages, {key: value for key, value in meta.items() if value is not None})


async def _respond(model: ChatModel, messages: Sequence[Message], sampling: Mapping[str, Any]) -> ChatResponse:
    return await model.reply(ChatRequest(tuple(messages), sampling, context=ContextOptions("refuse")))


def _messages(
    texts: Sequence[str], even_role: Literal["user", "assistant"], odd_role: Literal["user", "assistant"]
) -> list[Message]:
    return [Message(odd_role if index % 2 else even_role, text) for index, text in enumerate(texts)]
