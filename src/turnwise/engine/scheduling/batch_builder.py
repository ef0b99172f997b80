"""Builds mixed batches: a decode token (plus draft) per running sequence, and prefill chunks (Agrawal et al. 2024)."""

from collections.abc import Sequence
from typing import NamedTuple

from turnwise.engine.batch import BatchEntry
from turnwise.engine.scheduling.scheduler_queues import SchedulerQueues
from turnwise.engine.sequence import SequenceGroup, TokenSequence
from turnwise.engine.speculation.draft_proposer import NO_DRAFT

MAX_PREFILL_TOKENS = 512  # per forward pass; bounds its memory
MAX_PREFILL_TOKENS_WITH_DECODE = 128  # per forward pass that also decodes; bounds the time between tokens


class ScheduledChunk(NamedTuple):
    """What a forward pass computes for one sequence.

    Attributes:
        group: the request.
        sequence: one of its sequences.
        entry: tokens to compute: some that the sequence has, then its draft.
        is_last: True if the chunk includes the sequence's last token, whose logits give the next token.
        is_decode: True if that token is the only one, apart from the draft.
    """

    group: SequenceGroup
    sequence: TokenSequence
    entry: BatchEntry
    is_last: bool
    is_decode: bool


def build_batch(queues: SchedulerQueues) -> list[ScheduledChunk]:
    """Choose the tokens of the next forward pass and reserve blocks for them.

    If blocks are short, less urgent groups are preempted; chunks of preempted groups are left out.
    """
    queues.current = None
    token_counts = _count_tokens(queues)
    chunks: list[ScheduledChunk] = []
    for group in queues.by_urgency():
        if group not in queues.running:
            continue  # preempted by a more urgent group in this loop
        queues.current = group
        for sequence, count in token_counts.get(group, ()):
            if not _reserve_blocks(queues, group, sequence, count):
                break
            chunks.append(_make_chunk(group, sequence, count))
    return [chunk for chunk in chunks if chunk.group in queues.running]


def _count_tokens(queues: SchedulerQueues) -> dict[SequenceGroup, list[tuple[TokenSequence, int]]]:
    """Number of tokens to compute, by sequence: 1 for each that decodes, a chunk of the budget for the others."""
    counts = {
        group: [(sequence, 1) for sequence in group.sequences] for group in queues.running if not group.is_prefilling
    }
    budget = MAX_PREFILL_TOKENS_WITH_DECODE if counts else MAX_PREFILL_TOKENS
    prefilling = [group for group in queues.by_urgency() if group.is_prefilling]
    sequences = [_next_prefill(queues, group) for group in prefilling]
    # Searches advance all sequences at once, so the last token of each is left for a pass that has all of them.
    remaining = [
        sequence.num_uncomputed_tokens - (len(group.sequences) > 1)
        for group, sequence in zip(prefilling, sequences, strict=True)
    ]
    for group, sequence, count in zip(prefilling, sequences, split_token_budget(remaining, budget), strict=True):
        if count:
            counts[group] = [(sequence, count)]
    return counts


def _next_prefill(queues: SchedulerQueues, group: SequenceGroup) -> TokenSequence:
    """The group's first sequence that is not computed. One at a time, so that the next can share its blocks."""
    queues.current = group
    sequence = next(sequence for sequence in group.sequences if sequence.num_uncomputed_tokens > 1)
    if sequence.table is None:
        sequence.table = queues.kv_cache.match_prefix(group.request.scope, sequence.ids)
    return sequence


def split_token_budget(remaining: Sequence[int], budget: int) -> list[int]:
    """Distribute `budget` prefill tokens among prompts with `remaining` tokens each; the first is the most urgent.

    The first gets up to half. The rest goes to those with the fewest tokens left, so that a short prompt does not wait
    for a long one, and a long one still makes progress.
    """
    if not remaining:
        return []
    counts = [min(remaining[0], budget // 2)] + [0] * (len(remaining) - 1)
    budget -= counts[0]
    for number in [*sorted(range(1, len(remaining)), key=remaining.__getitem__), 0]:
        more = min(remaining[number] - counts[number], budget)
        counts[number] += more
        budget -= more
    return counts


def _reserve_blocks(queues: SchedulerQueues, group: SequenceGroup, sequence: TokenSequence, count: int) -> bool:
    """Reserve blocks for `count` more tokens and the draft. False if the group itself had to be preempted."""
    kv_cache = queues.kv_cache
    assert sequence.table is not None, "a running sequence has a block table"
    num_draft = len(sequence.draft.ids)
    if num_draft and kv_cache.reserve(sequence.table, sequence.table.num_computed_tokens + count + num_draft):
        return True
    sequence.draft = NO_DRAFT  # never preempt a sequence to make space for draft tokens
    while not kv_cache.reserve(sequence.table, sequence.table.num_computed_tokens + count):
        victim = queues.by_urgency()[-1]
        queues.preempt(victim)
        if victim is group:
            return False
    return True


def _make_chunk(group: SequenceGroup, sequence: TokenSequence, count: int) -> ScheduledChunk:
    assert sequence.table is not None, "`_reserve_blocks` succeeded"
    start, draft = sequence.table.num_computed_tokens, sequence.draft.ids
    ids = sequence.ids[start : start + count]
    is_last = start + len(ids) == len(sequence.ids)
    num_outputs = int(is_last)
    if group.needs_prompt_outputs:
        # The output at a position predicts the next token, so outputs start one before the first token to report.
        num_outputs = min(len(ids), max(0, start + len(ids) - group.max_prefix_match + 1))
    if draft:
        ids = [*ids, *draft]
    request = group.request
    entry = BatchEntry(
        sequence.table.blocks, start, ids, num_outputs + len(draft), request.encoder_ids, request.scope, request.adapter
    )
    return ScheduledChunk(group, sequence, entry, is_last, is_decode=is_last and count == 1)
