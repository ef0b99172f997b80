"""One step of the engine: admit, build a batch, run it, hand out its outputs."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import TypeVar

import torch
from torch import Tensor

from turnwise.core.errors import TurnwiseError
from turnwise.core.inference import ErrorEvent, FinishEvent, GenerationEvent, PromptEvent
from turnwise.engine.generation_errors import GenerationFailed, NonFiniteLogits
from turnwise.engine.kv_cache.kv_cache_manager import KVCacheManager
from turnwise.engine.kv_cache.prefix_tree import adapter_scope
from turnwise.engine.runners.model_runner import ModelRunner
from turnwise.engine.sampling.distribution_trace import trace_distribution
from turnwise.engine.sampling.prompt_outputs import compute_logprobs, pool_last_token
from turnwise.engine.scheduling.batch_builder import ScheduledChunk, build_batch
from turnwise.engine.scheduling.decode_step import decode_step
from turnwise.engine.scheduling.isolated_forward import forward_isolated
from turnwise.engine.scheduling.scheduler_queues import SchedulerQueues
from turnwise.engine.scheduling.search_sequences import fork_sequences
from turnwise.engine.sequence import SequenceGroup
from turnwise.engine.speculation.fault_tolerant_decoder import FaultTolerantDecoder

log = logging.getLogger(__name__)

Result = TypeVar("Result")


class Scheduler:
    """Continuous batching (Yu et al. 2022) over a paged KV cache (Kwon et al. 2023) with chunked prefill (Agrawal et
    al. 2024).

    An exception ends only the requests that it concerns. `_guard` ends one request if its work raises. A forward pass
    that fails is repeated group by group. If speculation or prefix caching raises, it is switched off or emptied and
    answers go on. Handlers catch BaseException, because a Rust panic (llguidance, tokenizers) is one and nothing above
    this thread would catch it.

    Shapes: R rows of output, L sequences of a group, X is V for logits (vocabulary) and C for hidden states (hidden
    size).

    Args:
        runner: computes forward passes.
        num_blocks: blocks of the runner's cache.
        max_num_seqs: maximum number of sequences that run at the same time.
        enable_speculation: use drafts; only with batch-invariant runners, so that outputs do not depend on it.
        max_retained_blocks: see `KVCacheManager`.
    """

    def __init__(
        self,
        runner: ModelRunner,
        num_blocks: int,
        max_num_seqs: int,
        *,
        enable_speculation: bool = True,
        max_retained_blocks: int | None = None,
    ) -> None:
        self._runner = runner
        self._speculation = FaultTolerantDecoder(is_enabled=enable_speculation and runner.batch_invariant)
        self.queues = SchedulerQueues(KVCacheManager(num_blocks, runner.copy, max_retained_blocks), max_num_seqs)

    @property
    def is_idle(self) -> bool:
        """True if no request is waiting or running."""
        return not self.queues.waiting and not self.queues.running

    def add(self, group: SequenceGroup) -> None:
        """Queue a request."""
        self.queues.add(group)

    def adapters_in_use(self) -> set[str]:
        """Names of the LoRA adapters of all requests that wait or run."""
        return {group.request.adapter for group in (*self.queues.running, *self.queues.waiting)}

    def drop_prefixes(self, adapter: str) -> None:
        """Remove what is cached of an adapter's requests. Call it when none waits or runs."""
        try:
            self.queues.kv_cache.tree.drop_scopes(adapter_scope(adapter))
        except BaseException:  # only memory is lost, which the cache reuses when it is short
            log.exception("removing the cached prefixes of an adapter failed")
            self.queues.repair()

    def step(self) -> None:
        """End cancelled requests, admit waiting ones and compute the next tokens of all that run."""
        self._drop_cancelled()
        self._attempt(self.queues.admit)
        self._speculation.propose(self.queues.running)
        chunks = self._attempt(lambda: build_batch(self.queues))
        # A forward pass returns either logits or hidden states, so there is one pass for each.
        for return_hidden in (False, True):
            if batch := [chunk for chunk in chunks if chunk.group.needs_hidden_states == return_hidden]:
                self._run_batch(batch, return_hidden=return_hidden)

    def fail_all(self) -> None:
        """End all running requests with an error, or all waiting ones if none runs.

        Called for exceptions that no single request caused. Every call ends at least one request, if there is any, so
        a fault that recurs at each step keeps nobody waiting.
        """
        for group in list(self.queues.running or self.queues.waiting):
            self._fail(group)
        self.queues.repair()

    def _fail(self, group: SequenceGroup) -> None:
        """End a request with an error after an exception, unless it has ended already."""
        if group in self.queues.running or group in self.queues.waiting:
            self.queues.abort(group)
            group.emit_to_all(ErrorEvent(GenerationFailed()))

    def _attempt(self, phase: Callable[[], Result]) -> Result:
        """Run `admit` or `build_batch`. If it raises, end the request it was working on and run it again without it.

        Raises the exception if no request that waits or runs is to blame.
        """
        while True:
            try:
                return phase()
            except BaseException:
                group = self.queues.current
                if group is None or not (group in self.queues.running or group in self.queues.waiting):
                    raise
                log.exception("admitting or scheduling a request failed")
                self._fail(group)

    def cancel_all(self) -> None:
        """End all requests as cancelled."""
        for group in [*self.queues.running, *self.queues.waiting]:
            group.cancel()
        self._drop_cancelled()

    def _drop_cancelled(self) -> None:
        for group in [group for group in self.queues.waiting if group.is_cancelled]:
            self.queues.waiting.remove(group)
            group.emit_to_all(FinishEvent("cancelled"))
        for group in [group for group in self.queues.running if group.is_cancelled]:
            self._finish(group, FinishEvent("cancelled"))

    def _run_batch(self, chunks: Sequence[ScheduledChunk], *, return_hidden: bool) -> None:
        """Run a forward pass and hand out its logits, `(R, V)`, or hidden states, `(R, C)`."""
        start_time = perf_counter()
        chunks, out_RX = forward_isolated(self._runner, chunks, return_hidden=return_hidden, fail=self._fail)
        # The cost model estimates passes that only decode: prefill and hidden states have other latencies.
        if chunks and not return_hidden and all(chunk.is_decode for chunk in chunks):
            self._speculation.decoder.cost.record_latency(
                sum(len(chunk.entry.ids) for chunk in chunks), perf_counter() - start_time
            )
        first_row = 0
        sampled: list[SequenceGroup] = []
        sampled_rows: list[int] = []
        searched: dict[SequenceGroup, list[Tensor]] = {}
        for chunk in chunks:
            group, chunk_RX = chunk.group, out_RX[first_row : first_row + chunk.entry.num_outputs]
            first_row += chunk.entry.num_outputs
            if chunk.sequence.table is None:
                continue  # the group failed at an earlier chunk of this batch
            num_draft = len(chunk.sequence.draft.ids)
            # Draft tokens count as computed only once `decode_step` has verified them.
            chunk.sequence.table.num_computed_tokens += len(chunk.entry.ids) - num_draft
            self._guard(group, partial(self._process_prompt_outputs, chunk, chunk_RX))
            if not chunk.is_last or group not in self.queues.running:
                continue
            if group.search is not None:
                searched.setdefault(group, []).append(chunk_RX[-1:])
            else:
                sampled.append(group)
                # `first_row` is now the row after this chunk. The draft's rows are the last ones of the chunk.
                sampled_rows.append(first_row - 1 - num_draft)
        self._sample(sampled, sampled_rows, out_RX)
        for group, last_outputs in searched.items():
            self._guard(group, partial(self._advance_search, group, torch.cat(last_outputs)))
        for chunk in chunks:
            if chunk.sequence.table is not None:
                self._insert_prefix(chunk)

    def _guard(self, group: SequenceGroup, work: Callable[[], None]) -> None:
        """Do work for one request; an exception ends that request."""
        try:
            work()
        except BaseException:
            log.exception("processing the output of one request failed")
            self._fail(group)

    def _insert_prefix(self, chunk: ScheduledChunk) -> None:
        assert chunk.sequence.table is not None, "the caller checks it"
        try:
            self.queues.kv_cache.insert_prefix(chunk.sequence.table, chunk.sequence.ids)
        except BaseException:  # only the chance to reuse these tokens is lost
            log.exception("adding to the prefix cache failed")
            self.queues.repair()

    def _process_prompt_outputs(self, chunk: ScheduledChunk, out_RX: Tensor) -> None:
        """Report log-probabilities or the embedding of the prompt, or pass its outputs to the search."""
        group, request = chunk.group, chunk.group.request
        if request.prompt_output == "embedding":
            if chunk.is_last:
                self._finish(group, PromptEvent(embedding=pool_last_token(out_RX[-1]), finish_reason="stop"))
        elif request.prompt_output == "distribution":
            if chunk.is_last:
                self._finish(group, _trace_event(group, out_RX[-1]))
        elif group.needs_prompt_logprobs:
            # Row i of the chunk predicts the token after it; the last row of the prompt predicts the first output.
            end = chunk.entry.start + len(chunk.entry.ids) + 1
            next_ids = request.prompt_ids[end - len(out_RX) : end]
            top = [request.params.top_logprobs] * len(next_ids)
            group.prompt_logprobs += compute_logprobs(out_RX[: len(next_ids)], next_ids, top)
            if not chunk.is_last:
                return
            event = PromptEvent(tuple(group.prompt_logprobs))
            if request.max_tokens:
                group.emit_to_all(event)
            else:
                self._finish(group, replace(event, finish_reason="length"))
        elif group.search is not None and group.search.needs_prompt_outputs:
            # The last row of the prompt goes to `advance`, as the output of the first hypothesis.
            group.search.observe_prompt(out_RX[:-1] if chunk.is_last else out_RX)

    def _sample(self, groups: Sequence[SequenceGroup], rows: Sequence[int], logits_RV: Tensor) -> None:
        for group, event in decode_step(groups, rows, logits_RV):
            if event.finish_reason is None:
                group.emit(event)
            else:
                # Record now, because `_finish` removes the draft with the blocks. The loop below then skips this group.
                self._speculation.record_result(group)
                self._finish(group, event)
        for group in groups:
            self._speculation.record_result(group)

    def _advance_search(self, group: SequenceGroup, out_LX: Tensor) -> None:
        """Extend all hypotheses of a search by one token and rebuild the group's sequences from them."""
        assert group.search is not None, "the caller checks it"
        events = group.search.advance(out_LX, self._runner.logits)
        if not group.search.is_done:
            fork_sequences(group, self.queues.kv_cache)
        for event in events[:-1]:
            group.emit(event)
        if events:
            if group.search.is_done:
                # As in `_finish`: when the listener receives the last event, the request's blocks are free.
                self._remove_finished(group, events[-1])
            group.emit(events[-1])

    def _finish(self, group: SequenceGroup, event: GenerationEvent) -> None:
        """Release a request's blocks and send the last event of all its answers."""
        self._remove_finished(group, event)
        group.emit_to_all(event)

    def _remove_finished(self, group: SequenceGroup, event: GenerationEvent) -> None:
        """Release a request's blocks, remove it from the running ones and keep its output for later drafts."""
        if isinstance(event, ErrorEvent) and isinstance(event.error, NonFiniteLogits):
            # Attention multiplies masked positions by weight 0, and 0 · NaN = NaN: a NaN left in a freed block would
            # spread to the next sequence that gets the block.
            self._clear_blocks(self.queues.free_blocks_uncached(group))
        else:
            self.queues.free_blocks(group)
        self.queues.running.remove(group)
        if group.search is None and not isinstance(event, ErrorEvent):
            self._speculation.add_output(group)

    def _clear_blocks(self, blocks: Sequence[int]) -> None:
        try:
            self._runner.clear(blocks)
        except BaseException:
            log.exception("clearing the blocks of a request with non-finite logits failed")


def _trace_event(group: SequenceGroup, logits_V: Tensor) -> GenerationEvent:
    """The distribution of the token after the prompt, or the error of a request that has none."""
    try:
        trace = trace_distribution(logits_V, group.request, group.sequence.logits_state)
    except TurnwiseError as error:
        return ErrorEvent(error)
    return PromptEvent(distribution=trace, finish_reason="stop")
