"""Which chats run: requests wait in line, take a slot, and give it back within one step of ending."""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from torch import Tensor

from turnwise.core.ports import FinishReason, GenerationRequest, TokenEvent
from turnwise.engine.choose import Choice, Shaping, choose
from turnwise.engine.reading import embedding_of, prompt_logprobs
from turnwise.engine.runner import Runner
from turnwise.engine.sampler import Draw

log = logging.getLogger(__name__)

PREFILL_BUDGET = 1024  # prompt tokens read between two decoding steps, so running chats are not held up for long


@dataclass(eq=False)
class Chat:
    """A request on its way. `ids` grows by what is generated; the cache holds `cached` of them.

    `cancelled` is set by other threads and read once a step.
    """

    request: GenerationRequest
    on_event: Callable[[TokenEvent], None]
    draw: Draw
    shaping: Shaping
    ids: list[int] = field(default_factory=list)
    cached: int = 0
    cancelled: bool = False

    @classmethod
    def of(cls, request: GenerationRequest, on_event: Callable[[TokenEvent], None]) -> "Chat":
        """A chat that has not begun."""
        return cls(request, on_event, Draw.of(request.params), Shaping(request), list(request.prompt_ids))

    @property
    def generated(self) -> int:
        """Tokens generated so far."""
        return len(self.ids) - len(self.request.prompt_ids)

    def cancel(self) -> None:
        """Ask for it to end; it does at the next step."""
        self.cancelled = True

    def tell(self, event: TokenEvent) -> None:
        """Report to the listener. One that fails has left: its chat ends, and no other notices."""
        try:
            self.on_event(event)
        except Exception as error:
            if not self.cancelled:
                log.warning("the listener of a chat failed, so the chat is cancelled: %r", error)
            self.cancelled = True


class Scheduler:
    """Continuous batching (Yu et al. 2022): chats join and leave the running batch at every step."""

    def __init__(self, runner: Runner, slots: int) -> None:
        self._runner = runner
        self._slots = slots
        self.waiting: deque[Chat] = deque()
        self.running: list[Chat] = []  # the chat at index i has slot i

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self.waiting and not self.running

    def step(self) -> None:
        """Let go of cancelled chats, let waiting ones in, and bring every running chat one token further."""
        self._drop_cancelled()
        running = len(self.running)
        self._admit()
        if running == 0 and self.running:
            return  # the first token is out; see whether anybody has joined or left before going on
        self._decode()

    def fail_running(self, error: str) -> None:
        """End what runs with an error; what waits has its turn yet."""
        chats, self.running = self.running, []
        for chat in chats:
            chat.tell(TokenEvent(None, "error", error))

    def cancel_all(self) -> None:
        """End everything as cancelled."""
        for chat in [*self.running, *self.waiting]:
            chat.cancel()
        self._drop_cancelled()

    def _drop_cancelled(self) -> None:
        for chat in [chat for chat in self.waiting if chat.cancelled]:
            self.waiting.remove(chat)
            chat.tell(TokenEvent(None, "cancelled"))
        for slot in reversed(range(len(self.running))):
            chat = self.running[slot]
            if chat.cancelled:
                self._finish(slot, TokenEvent(None, "cancelled"))

    def _admit(self) -> None:
        budget = PREFILL_BUDGET
        first = len(self.running)
        while self.waiting and len(self.running) < self._slots and budget > 0:
            if self.waiting[0].request.reading != "nothing" and len(self.running) > first:
                break  # it is read alone, in the next step
            chat = self.waiting.popleft()
            budget -= len(chat.ids)
            self.running.append(chat)  # before it is read, so that it is told should reading fail
            if chat.request.reading != "nothing":
                break
        joined = self.running[first:]
        if not joined:
            return
        if joined[0].request.reading != "nothing":
            logits_BV = self._read(joined[0], first)
        else:
            logits_BV = self._runner.prefill(range(first, len(self.running)), [chat.ids for chat in joined])
        if logits_BV is None:
            return
        choices = self._choose(logits_BV, joined)
        for chat in joined:
            chat.cached = len(chat.ids)
        self._take_all(first, choices)

    def _read(self, chat: Chat, slot: int) -> Tensor | None:
        """Read a prompt and report what was asked of it; the logits after it, `(1, V)`, where it is to go on."""
        embedding = chat.request.reading == "embedding"
        parts = self._runner.read(slot, chat.ids, hidden=embedding)
        if embedding:
            self._finish(slot, TokenEvent(None, "stop", embedding=embedding_of(parts)))
            return None
        reports, last_1V = prompt_logprobs(parts, chat.ids, chat.request.params.top_logprobs)
        event = TokenEvent(None, prompt_logprobs=reports)
        if chat.request.max_tokens:
            chat.tell(event)
            return last_1V
        self._finish(slot, replace(event, finish="length"))
        return None

    def _decode(self) -> None:
        if not self.running:
            return
        logits_BV = self._runner.decode([chat.ids[-1] for chat in self.running], [chat.cached for chat in self.running])
        choices = self._choose(logits_BV, self.running)
        for chat in self.running:
            chat.cached += 1
        self._take_all(0, choices)

    def _take_all(self, first: int, choices: list[Choice]) -> None:
        """One token for each chat from slot `first` on; from the end, because a release moves the last chat."""
        for slot in reversed(range(first, len(self.running))):
            self._take(slot, choices[slot - first])

    def _choose(self, logits_BV: Tensor, chats: list[Chat]) -> list[Choice]:
        """The next token of every chat."""
        return choose(logits_BV, [chat.draw for chat in chats], [chat.shaping for chat in chats])

    def _take(self, slot: int, choice: Choice) -> None:
        """Append a token to the chat in a slot and report it."""
        chat = self.running[slot]
        if choice.error is not None:
            self._runner.clear(slot)
            self._finish(slot, TokenEvent(None, "error", choice.error, users=choice.users))
            return
        if choice.token in chat.request.stop_ids:
            self._finish(slot, TokenEvent(None, "stop"))
            return
        chat.ids.append(choice.token)
        chat.shaping.accept(choice.token)
        finish: FinishReason | None = None
        if chat.shaping.complete:
            finish = "stop"
        elif chat.generated >= chat.request.max_tokens:
            finish = "length"
        event = TokenEvent(choice.token, finish, logprobs=choice.logprobs)
        if finish is not None:
            self._finish(slot, event)
        else:
            chat.tell(event)

    def _finish(self, slot: int, event: TokenEvent) -> None:
        chat = self.running[slot]
        self._release(slot)
        chat.tell(event)

    def _release(self, slot: int) -> None:
        """Free a slot: the last running chat moves into it."""
        last = self.running.pop()
        if slot < len(self.running):
            self._runner.move(len(self.running), slot, last.cached)
            self.running[slot] = last
