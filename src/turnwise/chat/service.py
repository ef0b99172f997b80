"""One turn of talk: messages in, the next turn out, piece by piece.

`stream` renders the messages, hands the ids to the generator, turns tokens back into text, ends at stop strings, and
keeps the conversation where it was asked to. Closing it early frees the generator's slot within one step.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any

from turnwise.chat.memory import remember, remember_reply
from turnwise.core.errors import ContextTooLong, InvalidData, TurnwiseError, UserError
from turnwise.core.messages import Message
from turnwise.core.parameters import GenerationParams
from turnwise.core.ports import ConversationStore, FinishReason, GenerationRequest, Generator, TokenEvent
from turnwise.text.render import Renderer
from turnwise.text.stream import StopScanner, StreamDecoder


@dataclass(frozen=True, slots=True)
class Turn:
    """One request for the next message.

    Attributes:
        messages: the conversation so far.
        asked: generation parameters that were said, by name as in `core.parameters.SPECS`.
        conversation_id: where to keep messages and reply; None keeps nothing.
        continue_final: go on with the last message instead of starting a new one.
    """

    messages: tuple[Message, ...]
    asked: Mapping[str, Any] = field(default_factory=dict)
    conversation_id: str | None = None
    continue_final: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written; `cached_tokens` of the prompt did not have to be read again."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the answer. `finish` and `usage` come with the last one."""

    text: str = ""
    finish: FinishReason | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    text: str
    finish: FinishReason
    usage: Usage


@dataclass(frozen=True)
class ChatService:
    """A model that talks.

    Attributes:
        name: what it is called in the API.
        created: when its weights were made, in seconds since 1970.
        fingerprint: changes when weights or decoding change.
        renderer: its chat template.
        generator: its engine.
        defaults: generation parameters it prefers.
        store: where conversations are kept; None keeps none.
    """

    name: str
    created: int
    fingerprint: str
    renderer: Renderer
    generator: Generator
    defaults: Mapping[str, Any] = field(default_factory=dict)
    store: ConversationStore | None = None

    @property
    def context_length(self) -> int:
        """Most tokens of prompt and answer together."""
        return self.generator.context_length

    def request(self, turn: Turn) -> GenerationRequest:
        """What the generator is asked for.

        Raises:
            UserError: parameters out of range, messages the template refuses, or more tokens than the context holds.
        """
        params = GenerationParams.resolve(turn.asked, self.defaults)
        _refuse_broken_text(turn.messages)
        if turn.continue_final and (not turn.messages or turn.messages[-1].role != "assistant"):
            raise UserError("Only an assistant's message can be gone on with, and the last message is none.")
        rendered = self.renderer.render(
            turn.messages, add_generation_prompt=not turn.continue_final, continue_final=turn.continue_final
        )
        room = self.context_length - len(rendered.ids)
        if room < 1 or (turn.asked.get("max_tokens") or 0) > room:
            asked = f" and the answer asks for {params.max_tokens}" if turn.asked.get("max_tokens") else ""
            raise ContextTooLong(
                f"This model's context holds {self.context_length} tokens, but the messages take "
                f"{len(rendered.ids)}{asked}. Shorten the messages or 'max_tokens'."
            )
        return GenerationRequest(
            prompt_ids=tuple(rendered.ids),
            params=params,
            max_tokens=min(params.max_tokens or room, room),
            stop_ids=self.renderer.tokenizer.stop_ids,
        )

    async def stream(self, turn: Turn) -> AsyncGenerator[Delta, None]:
        """The answer as it arrives; the pieces concatenate to `reply`'s text for the same seed.

        Raises:
            UserError: see `request`; before the first piece.
            NotFound: `conversation_id` names no conversation.
            TurnwiseError: the generator failed.
        """
        request = self.request(turn)
        if turn.conversation_id is not None and self.store is not None:
            await asyncio.to_thread(remember, self.store, turn.conversation_id, turn.messages, turn.continue_final)
        pieces: list[str] = []
        finish: FinishReason = "cancelled"
        try:
            async with aclosing(self._generate(request, turn)) as deltas:
                async for delta in deltas:
                    pieces.append(delta.text)
                    finish = delta.finish or finish
                    yield delta
        except TurnwiseError:
            finish = "error"
            raise
        finally:
            # Also when the listener left: what was said so far belongs to the conversation.
            if turn.conversation_id is not None and self.store is not None:
                said = Message("assistant", _opening(turn) + "".join(pieces))
                remember_reply(self.store, turn.conversation_id, said, {"finish": finish, "model": self.name})

    async def reply(self, turn: Turn) -> Reply:
        """The answer, whole. Raises as `stream` does."""
        pieces: list[str] = []
        async with aclosing(self.stream(turn)) as deltas:
            async for delta in deltas:
                pieces.append(delta.text)
                if delta.finish is not None and delta.usage is not None:
                    return Reply("".join(pieces), delta.finish, delta.usage)
        raise AssertionError("a stream ends with a finish")

    async def _generate(self, request: GenerationRequest, turn: Turn) -> AsyncGenerator[Delta, None]:
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[TokenEvent] = asyncio.Queue()

        def deliver(event: TokenEvent) -> None:
            with suppress(RuntimeError):  # the loop is closed: whoever listened has left and cancelled
                loop.call_soon_threadsafe(events.put_nowait, event)

        decoder = StreamDecoder(self.renderer.tokenizer, request.prompt_ids if turn.continue_final else ())
        scanner = StopScanner(request.params.stop)
        generated = 0
        ticket = self.generator.submit(request, deliver)
        try:
            while True:
                event = await events.get()
                text = ""
                if event.id is not None:
                    generated += 1
                    text = scanner.push(decoder.push(event.id))
                finish = event.finish
                if finish == "error":
                    raise TurnwiseError(event.error or "The model failed while generating.")
                if finish is not None:
                    text += scanner.push(decoder.flush())
                    text += scanner.flush()
                if scanner.stopped:
                    ticket.cancel()  # now: the listener may take its time before it asks for more
                    finish = "stop"
                if finish is not None:
                    yield Delta(text, finish, Usage(len(request.prompt_ids), generated))
                    return
                if text:
                    yield Delta(text)
        finally:
            ticket.cancel()


def _opening(turn: Turn) -> str:
    """What the answer goes on from."""
    return turn.messages[-1].content if turn.continue_final else ""


def _refuse_broken_text(messages: Sequence[Message]) -> None:
    """Half a surrogate pair, which Python makes of bytes that are no UTF-8, is nothing a tokenizer could encode."""
    for message in messages:
        try:
            f"{message.content}{message.name}".encode()
        except UnicodeEncodeError:
            raise InvalidData(f"A message of the {message.role} is not valid Unicode text.") from None
