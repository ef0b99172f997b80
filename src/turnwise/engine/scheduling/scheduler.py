"""Pass after pass: who runs, what is read, and what comes of it."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import TypeVar

import torch
from torch import Tensor

from turnwise.core.ports import TokenEvent
from turnwise.engine.kv_cache.kv_cache_manager import KVCacheManager
from turnwise.engine.runners.model_runner import ModelRunner
from turnwise.engine.sampling.prompt_outputs import compute_logprobs, pool_last_token
from turnwise.engine.sampling.sampler import GENERATION_FAILED, NON_FINITE_LOGITS
from turnwise.engine.scheduling import decode_step as sample
from turnwise.engine.scheduling.batch_builder import ScheduledChunk, plan
from turnwise.engine.scheduling.scheduler_queues import SchedulerQueues
from turnwise.engine.sequence import SequenceGroup, TokenSequence
from turnwise.engine.speculation.draft_proposer import NO_DRAFT
from turnwise.engine.speculation.speculative_decoder import SpeculativeDecoder

log = logging.getLogger(__name__)

Result = TypeVar("Result")


class Scheduler:
    """Continuous batching (Yu et al. 2022) over a cache in blocks (Kwon et al. 2023), with prompts read in parts beside
    the chats under way (Agrawal et al. 2024).

    An exception ends the chats that it concerns and no others: work for one chat is guarded, a pass that fails is
    repeated chat by chat, and what only saves time (drafts, the prefix cache) fails without costing an answer. All
    clauses catch BaseException, because a panic inside a Rust library is one, and this thread has nobody above it.

    Args:
        runner: computes.
        blocks: how many the runner's cache has.
        slots: most lines that run at the same time.
        drafts: whether to try several tokens at once; for runners with exact numbers.
    """

    def __init__(self, runner: ModelRunner, blocks: int, slots: int, *, drafts: bool = True) -> None:
        self._runner = runner
        self._drafts = drafts and runner.batch_invariant
        self._drafting = SpeculativeDecoder()
        self.seats = SchedulerQueues(KVCacheManager(blocks, runner.copy), slots)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self.seats.waiting and not self.seats.running

    def add(self, chat: SequenceGroup) -> None:
        """A chat that waits for its turn."""
        self.seats.add(chat)

    def step(self) -> None:
        """Let go of cancelled chats, let waiting ones in, and read what comes next of all that run."""
        self._drop_cancelled()
        self._attempt(self.seats.admit)
        if self._drafts:
            self._propose()
        parts = self._attempt(lambda: plan(self.seats))
        for hidden in (False, True):
            if some := [part for part in parts if part.chat.needs_hidden_states == hidden]:
                self._pass(some, hidden=hidden)

    def fail_all(self) -> None:
        """End all that run with an error, or all that wait if none runs: an exception concerns nobody in particular.

        Every call ends a chat, if there is any: a fault that comes back at each step keeps nobody waiting.
        """
        for chat in list(self.seats.running or self.seats.waiting):
            self._fail(chat)
        self.seats.repair()

    def _fail(self, chat: SequenceGroup) -> None:
        """End a chat with an error after an exception, unless it has ended already."""
        if chat in self.seats.running or chat in self.seats.waiting:
            self.seats.abandon(chat)
            chat.emit_to_all(TokenEvent(None, "error", GENERATION_FAILED))

    def _attempt(self, phase: Callable[[], Result]) -> Result:
        """Run a phase; when it raises, fail the chat that it was working on and run it again without that one."""
        while True:
            try:
                return phase()
            except BaseException:
                chat = self.seats.current
                if chat is None or not (chat in self.seats.running or chat in self.seats.waiting):
                    raise
                log.exception("admitting or planning a chat failed")
                self._fail(chat)

    def cancel_all(self) -> None:
        """End everything as cancelled."""
        for chat in [*self.seats.running, *self.seats.waiting]:
            chat.cancel()
        self._drop_cancelled()

    def _drop_cancelled(self) -> None:
        for chat in [chat for chat in self.seats.waiting if chat.cancelled]:
            self.seats.waiting.remove(chat)
            chat.emit_to_all(TokenEvent(None, "cancelled"))
        for chat in [chat for chat in self.seats.running if chat.cancelled]:
            self._finish(chat, TokenEvent(None, "cancelled"))

    def _propose(self) -> None:
        try:
            self._drafting.propose([chat for chat in self.seats.running if chat.draws and not chat.is_prefilling])
        except BaseException:
            self._stop_drafting()
            for chat in self.seats.running:
                chat.line.draft = NO_DRAFT

    def _saw_draft(self, chat: SequenceGroup) -> None:
        """Learn how a draft fared; after that the chat has none."""
        try:
            self._drafting.saw(chat)
        except BaseException:
            self._stop_drafting()
        chat.line.draft, chat.line.num_accepted = NO_DRAFT, 0

    def _stop_drafting(self) -> None:
        log.exception("drafting failed and is off from now on; answers are the same, and slower")
        self._drafts = False

    def _forward(self, parts: Sequence[ScheduledChunk], *, hidden: bool) -> tuple[Sequence[ScheduledChunk], Tensor]:
        """One pass over all parts; if it raises, a pass for each chat, and the parts of those that succeed."""
        try:
            return parts, self._runner.forward([part.span for part in parts], hidden=hidden)
        except BaseException:
            log.exception("a pass over %d sequences failed", len(parts))
        done: list[ScheduledChunk] = []
        outputs = [torch.empty(0)]
        by_chat: dict[SequenceGroup, list[ScheduledChunk]] = {}
        for part in parts:
            by_chat.setdefault(part.chat, []).append(part)
        for chat, own in by_chat.items():
            if len(by_chat) == 1:
                self._fail(chat)
                break
            try:  # a pass writes the same keys and values at the same positions, so repeating it is harmless
                outputs.append(self._runner.forward([part.span for part in own], hidden=hidden))
                done += own
            except BaseException:
                log.exception("the pass of one chat failed")
                self._fail(chat)
        return done, torch.cat(outputs[bool(done) :])

    def _pass(self, parts: Sequence[ScheduledChunk], *, hidden: bool) -> None:
        """Read, and hand out what that brings: logits, `(R, V)`, or hidden states, `(R, C)`."""
        began = perf_counter()
        parts, out_RX = self._forward(parts, hidden=hidden)
        if parts and not hidden and all(part.next for part in parts):
            self._drafting.cost.record_latency(sum(len(part.span.ids) for part in parts), perf_counter() - began)
        first = 0
        sampled: list[SequenceGroup] = []
        rows: list[int] = []
        searched: dict[SequenceGroup, list[Tensor]] = {}
        for part in parts:
            chat, own_RX = part.chat, out_RX[first : first + part.span.wanted]
            first += part.span.wanted
            if part.line.table is None:
                continue  # an earlier part of its chat failed
            draft = len(part.line.draft.ids)  # of which it shows only now what is good for anything
            part.line.table.length += len(part.span.ids) - draft
            self._guard(chat, partial(self._read, part, own_RX))
            if not part.last or chat not in self.seats.running:
                continue
            if chat.search is not None:
                searched.setdefault(chat, []).append(own_RX[-1:])
            else:
                sampled.append(chat)
                rows.append(first - 1 - draft)
        self._sample(sampled, rows, out_RX)
        for chat, found in searched.items():
            self._guard(chat, partial(self._search, chat, torch.cat(found)))
        for part in parts:
            if part.line.table is not None:
                self._publish(part)

    def _guard(self, chat: SequenceGroup, work: Callable[[], None]) -> None:
        """Do work for one chat; an exception ends that chat."""
        try:
            work()
        except BaseException:
            log.exception("work for one chat failed")
            self._fail(chat)

    def _publish(self, part: ScheduledChunk) -> None:
        assert part.line.table is not None, "the caller checks it"
        try:
            self.seats.memory.insert_prefix(part.line.table, part.line.ids)
        except BaseException:  # others read it again; nobody has lost anything
            log.exception("caching what was read failed")
            self.seats.repair()

    def _read(self, part: ScheduledChunk, out_RX: Tensor) -> None:
        """Report on the prompt, where that is asked for, and remember what a search wants to know of it."""
        chat, request = part.chat, part.chat.request
        if request.prompt_output == "embedding":
            if part.last:
                self._finish(chat, TokenEvent(None, "stop", embedding=pool_last_token(out_RX[-1])))
        elif chat.needs_prompt_logprobs:
            end = part.span.start + len(part.span.ids) + 1
            following = request.prompt_ids[end - len(out_RX) : end]
            top = [request.params.top_logprobs] * len(following)
            chat.prompt_logprobs += compute_logprobs(out_RX[: len(following)], following, top)
            if not part.last:
                return
            event = TokenEvent(None, prompt_logprobs=tuple(chat.prompt_logprobs))
            if request.max_tokens:
                chat.emit_to_all(event)
            else:
                self._finish(chat, replace(event, finish_reason="length"))
        elif chat.search is not None and chat.search.needs_prompt_outputs:
            chat.search.saw(out_RX[:-1] if part.last else out_RX)

    def _sample(self, chats: Sequence[SequenceGroup], rows: Sequence[int], logits_RV: Tensor) -> None:
        for chat, event in sample.advance(chats, rows, logits_RV):
            if event.finish_reason is None:
                chat.emit(event)
            else:
                self._saw_draft(chat)  # now: what it has goes back
                self._finish(chat, event)
        for chat in chats:
            self._saw_draft(chat)

    def _search(self, chat: SequenceGroup, out_LX: Tensor) -> None:
        """Bring a search one token further; its lines part where its branches do."""
        assert chat.search is not None, "it is a search"
        events = chat.search.advance(out_LX, self._runner.logits)
        if not chat.search.done:
            self._branch(chat)
        for event in events[:-1]:
            chat.emit(event)
        if events and not chat.search.done:
            chat.emit(events[-1])
        elif events:
            self._end(chat, events[-1])
            chat.emit(events[-1])

    def _branch(self, chat: SequenceGroup) -> None:
        assert chat.search is not None, "it is a search"
        before, prompt = chat.lines, list(chat.request.prompt_ids)
        memory, parents = self.seats.memory, {branch.parent for branch in chat.search.hypotheses}
        for number, line in enumerate(before):
            if number not in parents and line.table is not None:
                memory.close(line.table)
                line.table = None
        chat.lines = []
        for branch in chat.search.hypotheses:
            table = before[branch.parent].table
            assert table is not None, "it was read"
            if branch.parent in parents:  # its first goes on in its place
                parents.remove(branch.parent)
            else:
                table = memory.fork(table)  # None without memory for a copy: it is read again
            chat.lines.append(TokenSequence([*prompt, *branch.ids], branch.logits_processors, table))

    def _finish(self, chat: SequenceGroup, event: TokenEvent) -> None:
        """Take a chat's memory back and tell it how all of its answers ended."""
        self._end(chat, event)
        chat.emit_to_all(event)

    def _end(self, chat: SequenceGroup, event: TokenEvent) -> None:
        if event.error == NON_FINITE_LOGITS:
            self._clear(self.seats.forget(chat))
        else:
            self.seats.release(chat)
        self.seats.running.remove(chat)
        if self._drafts and chat.search is None and event.error is None:
            try:
                self._drafting.learn(chat)
            except BaseException:
                self._stop_drafting()

    def _clear(self, blocks: Sequence[int]) -> None:
        try:
            self._runner.clear(blocks)
        except BaseException:
            log.exception("blocks of a chat whose numbers overflowed could not be cleared")
