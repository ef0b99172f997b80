"""Which tokens are read next: chats join and leave at every pass, and long prompts are read in parts beside them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import NamedTuple

import torch
from torch import Tensor

from turnwise.core.ports import TokenEvent
from turnwise.engine.blocks import BLOCK, blocks_for
from turnwise.engine.chat import Chat, Line
from turnwise.engine.choose import OVERFLOW
from turnwise.engine.decoders import sample
from turnwise.engine.drafting import Drafting
from turnwise.engine.drafts import NO_DRAFT
from turnwise.engine.memory import Memory
from turnwise.engine.reading import embedding_of, logprobs_of
from turnwise.engine.runner import Runner
from turnwise.engine.span import Span

READ_ALONE = 512  # prompt tokens in a pass; bounds its memory
READ_BESIDE = 128  # as many while others wait for their next token


class Part(NamedTuple):
    """What is read of a line in a pass.

    Attributes:
        chat: whose it is.
        line: the line.
        span: what is read: tokens it has, and a draft after the last of them.
        last: whether that brings the chat its next token.
        next: whether it had only that one to read.
    """

    chat: Chat
    line: Line
    span: Span
    last: bool
    next: bool


class Scheduler:
    """Continuous batching (Yu et al. 2022) over a cache in blocks (Kwon et al. 2023), with prompts read in parts beside
    the chats under way (Agrawal et al. 2024).

    Args:
        runner: computes.
        blocks: how many the runner's cache has.
        slots: most lines that run at the same time.
    """

    def __init__(self, runner: Runner, blocks: int, slots: int) -> None:
        self._runner = runner
        self._slots = slots
        self._arrivals = 0
        self._drafting = Drafting()
        self.memory = Memory(blocks)
        self.waiting: list[Chat] = []
        self.running: list[Chat] = []

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self.waiting and not self.running

    def add(self, chat: Chat) -> None:
        """A chat that waits for its turn."""
        chat.arrived = self._arrivals
        self._arrivals += 1
        self.waiting.append(chat)

    def step(self) -> None:
        """Let go of cancelled chats, let waiting ones in, and read what comes next of all that run."""
        self._drop_cancelled()
        self._admit()
        parts = self._plan()
        for hidden in (False, True):
            some = [part for part in parts if (part.chat.request.reading == "embedding") == hidden]
            if not some:
                continue
            began = perf_counter()
            rows = self._runner.forward([part.span for part in some], hidden=hidden)
            if all(part.next for part in some):
                self._drafting.cost.took(sum(len(part.span.ids) for part in some), perf_counter() - began)
            self._advance(some, rows)

    def fail_running(self, error: str) -> None:
        """End what runs with an error; what waits has its turn yet."""
        for chat in list(self.running):
            self._finish(chat, TokenEvent(None, "error", error))

    def cancel_all(self) -> None:
        """End everything as cancelled."""
        for chat in [*self.running, *self.waiting]:
            chat.cancel()
        self._drop_cancelled()

    def _drop_cancelled(self) -> None:
        for chat in [chat for chat in self.waiting if chat.cancelled]:
            self.waiting.remove(chat)
            chat.tell(TokenEvent(None, "cancelled"))
        for chat in [chat for chat in self.running if chat.cancelled]:
            self._finish(chat, TokenEvent(None, "cancelled"))

    # Who runs

    def _admit(self) -> None:
        """Let chats in while there are slots and memory: the tenants in turn, each tenant's by priority and arrival."""
        if not self.waiting:
            return
        lines = sum(chat.width for chat in self.running)
        of_tenant = Counter(chat.request.tenant for chat in self.running)
        put_off: set[Chat] = set()
        while candidates := [chat for chat in self.waiting if chat not in put_off]:
            chat = min(
                candidates, key=lambda chat: (of_tenant[chat.request.tenant], chat.request.priority, chat.arrived)
            )
            if lines and lines + chat.width > self._slots:
                of_same = [other for other in self.running if other.request.tenant == chat.request.tenant]
                victim = max(of_same, key=_urgency, default=chat)
                if victim.request.priority <= chat.request.priority:
                    return
                self._preempt(victim)
                lines -= victim.width
                of_tenant[victim.request.tenant] -= 1
                put_off.add(victim)
            elif self._is_being_read(chat):
                put_off.add(chat)
            elif self._seat(chat):
                lines += chat.width
                of_tenant[chat.request.tenant] += 1
            else:
                return

    def _seat(self, chat: Chat) -> bool:
        """Give a chat memory for all it has so far; False where there is too little."""
        line = chat.line
        chat.prompt_logprobs.clear()
        table = self.memory.open(chat.request.scope, line.ids, reuse=not chat.reports_prompt)
        # A block more for each that runs, or they would have to make room for each other at once.
        spare = sum(chat.width for chat in self.running) if self.running else 0
        missing = blocks_for(len(line.ids)) - len(table.blocks)
        if missing + spare > self.memory.pool.available or not self.memory.reserve(table, len(line.ids)):
            self.memory.close(table)
            return False
        line.table = table
        if not chat.begun:
            chat.begun = True
            chat.work = replace(chat.work, cached=table.length)
        self.waiting.remove(chat)
        self.running.append(chat)
        return True

    def _is_being_read(self, chat: Chat) -> bool:
        """Whether somebody is just reading a beginning that this chat shares: it then waits, and need not read it."""
        ids = chat.line.ids
        for other in self.running:
            table = other.line.table
            if not other.reading or table is None or other.request.scope != chat.request.scope:
                continue
            shared = _common_blocks(ids, other.line.ids) * BLOCK
            if shared > table.length and shared > self.memory.known(chat.request.scope, ids):
                return not chat.reports_prompt
        return False

    def _preempt(self, chat: Chat) -> None:
        """Take a chat's memory away; it goes on later from where it was, and reads again what is not kept till then."""
        self._release(chat)
        self.running.remove(chat)
        self.waiting.append(chat)

    # What is read

    def _plan(self) -> list[Part]:
        """What the next pass reads. The more urgent take memory from the less urgent where there is too little."""
        rows = self._rows()
        parts: list[Part] = []
        for chat in sorted(self.running, key=_urgency):
            if chat not in self.running:
                continue  # it had to give way to one before it
            for line, count in rows.get(chat, ()):
                if not self._make_room(chat, line, count):
                    break
                parts.append(self._part(chat, line, count))
        return [part for part in parts if part.chat in self.running]

    def _rows(self) -> dict[Chat, list[tuple[Line, int]]]:
        """How many tokens of which lines are read. One of each that has been read; of the others a part."""
        steady = [chat for chat in self.running if not chat.reading]
        if self._runner.exact:
            self._drafting.propose([chat for chat in steady if chat.draws])
        rows = {chat: [(line, 1) for line in chat.lines] for chat in steady}
        readers = sorted((chat for chat in self.running if chat.reading), key=_urgency)
        if not readers:
            return rows
        # One line after the other: what the first has read, the next may share.
        lines = [next(line for line in chat.lines if line.behind > 1) for chat in readers]
        for chat, line in zip(readers, lines, strict=True):
            if line.table is None:
                line.table = self.memory.open(chat.request.scope, line.ids)
        # The last token of several lines is read by all of them together, in a later pass.
        left = [line.behind - (len(chat.lines) > 1) for chat, line in zip(readers, lines, strict=True)]
        budget = READ_BESIDE if steady else READ_ALONE
        # Half is for whoever is first, half for whoever has least left: a short prompt does not wait for a long one.
        first = min(left[0], budget // 2)
        budget -= first
        grants = [first] + [0] * (len(readers) - 1)
        for number in [*sorted(range(1, len(readers)), key=left.__getitem__), 0]:
            more = min(left[number] - grants[number], budget)
            grants[number] += more
            budget -= more
        for chat, line, count in zip(readers, lines, grants, strict=True):
            if count:
                rows[chat] = [(line, count)]
        return rows

    def _make_room(self, chat: Chat, line: Line, count: int) -> bool:
        """Memory for so many more tokens of a line; False where its chat itself had to give way."""
        if line.table is None:
            line.table = self.memory.open(chat.request.scope, line.ids)  # of a single token
        draft = len(line.draft.ids)
        if draft and self.memory.reserve(line.table, line.table.length + count + draft):
            return True
        line.draft = NO_DRAFT  # nobody gives way to a guess
        while not self.memory.reserve(line.table, line.table.length + count):
            victim = max(self.running, key=_urgency)
            self._preempt(victim)
            if victim is chat:
                return False
        return True

    def _part(self, chat: Chat, line: Line, count: int) -> Part:
        assert line.table is not None, "there is room"
        start = line.table.length
        ids = line.ids[start : start + count]
        last = start + len(ids) == len(line.ids)
        wanted = len(ids) if chat.reports_prompt else int(last)
        draft = line.draft.ids
        span = Span(
            line.table.blocks, start, [*ids, *draft] if draft else ids, wanted + len(draft), chat.request.source
        )
        return Part(chat, line, span, last, next=last and count == 1)

    # What comes of it

    def _advance(self, parts: Sequence[Part], logits_RV: Tensor) -> None:
        """Hand out what a pass has brought, `(R, V)`, or `(R, C)` where hidden states were wanted."""
        row = 0
        sampled: list[Chat] = []
        rows: list[int] = []
        searched: dict[Chat, list[Tensor]] = {}
        for part in parts:
            chat, wanted_RV = part.chat, logits_RV[row : row + part.span.wanted]
            row += part.span.wanted
            assert part.line.table is not None, "it was read"
            draft = len(part.line.draft.ids)  # of which it shows only now what is good for anything
            part.line.table.length += len(part.span.ids) - draft
            self._read(part, wanted_RV)
            if not part.last or chat not in self.running:
                continue
            if chat.search is not None:
                searched.setdefault(chat, []).append(wanted_RV)
            else:
                sampled.append(chat)
                rows.append(row - 1 - draft)
        before = [len(chat.line.ids) for chat in sampled]
        for chat, event in sample.advance(sampled, rows, logits_RV):
            self._tell(chat, event)
        for chat, length in zip(sampled, before, strict=True):
            self._drafting.saw(chat, length)
        for chat, found in searched.items():
            self._search(chat, torch.cat(found))
        for part in parts:
            if part.chat in self.running and part.line.table is not None:
                self.memory.publish(part.line.table, part.line.ids)

    def _read(self, part: Part, wanted_RV: Tensor) -> None:
        """Report on the prompt, where that is asked for."""
        chat, request = part.chat, part.chat.request
        if request.reading == "embedding":
            if part.last:
                self._finish(chat, TokenEvent(None, "stop", embedding=embedding_of(wanted_RV[-1])))
        elif chat.reports_prompt:
            following = request.prompt_ids[part.span.start + 1 : part.span.start + 1 + len(wanted_RV)]
            top = [request.params.top_logprobs] * len(following)
            chat.prompt_logprobs += logprobs_of(wanted_RV[: len(following)], following, top)
            if not part.last:
                return
            event = TokenEvent(None, prompt_logprobs=tuple(chat.prompt_logprobs))
            if request.max_tokens:
                chat.tell(event)
            else:
                self._finish(chat, replace(event, finish="length"))

    def _search(self, chat: Chat, logits_LV: Tensor) -> None:
        """Bring a search one token further; its lines part where its beams do."""
        assert chat.search is not None, "it is a search"
        events = chat.search.advance(logits_LV)
        if not chat.search.done:
            self._branch(chat)
        for event in events[:-1]:
            chat.tell(event)
        if chat.search.done:
            self._finish(chat, events[-1])
        elif events:
            chat.tell(events[-1])

    def _branch(self, chat: Chat) -> None:
        assert chat.search is not None, "it is a search"
        before, prompt = chat.lines, list(chat.request.prompt_ids)
        chat.lines = [Line([*prompt, *beam.ids], beam.shaping) for beam in chat.search.beams]
        parted = set()
        for line, beam in zip(chat.lines, chat.search.beams, strict=True):
            table = before[beam.parent].table
            assert table is not None, "it was read"
            if beam.parent not in parted:
                parted.add(beam.parent)
                line.table = table
            elif (forked := self.memory.fork(table)) is not None:
                line.table, copied = forked
                if copied is not None:
                    self._runner.copy(*copied)
            # Without memory for a copy the line is read again.
        for number, line in enumerate(before):
            if number not in parted and line.table is not None:
                self.memory.close(line.table)

    def _tell(self, chat: Chat, event: TokenEvent) -> None:
        if event.finish is None:
            chat.tell(event)
            return
        self._finish(chat, event)

    def _finish(self, chat: Chat, event: TokenEvent) -> None:
        """Take a chat's memory back, keeping for others what it has read, and tell it how it ended."""
        self._release(chat, spoilt=event.error == OVERFLOW)
        self.running.remove(chat)
        if chat.search is None and event.error is None:
            self._drafting.learn(chat)
        chat.tell(event)

    def _release(self, chat: Chat, *, spoilt: bool = False) -> None:
        for line in chat.lines:
            if line.table is None:
                continue
            if spoilt:
                self._runner.clear(self.memory.forget(line.table))
            else:
                self.memory.publish(line.table, line.ids)
                self.memory.close(line.table)
            line.table = None


def _urgency(chat: Chat) -> tuple[int, int]:
    """The lowest first."""
    return chat.request.priority, chat.arrived


def _common_blocks(ids: Sequence[int], others: Sequence[int]) -> int:
    """How many whole blocks two lines of tokens have in common at their beginning."""
    most = min(len(ids) - 1, len(others)) // BLOCK
    for at in range(most):
        block = slice(at * BLOCK, (at + 1) * BLOCK)
        if ids[block] != others[block]:
            return at
    return most
