"""A forward pass whose failure ends only the requests that cause it."""

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from turnwise.engine.runners.model_runner import ModelRunner
from turnwise.engine.scheduling.batch_builder import ScheduledChunk
from turnwise.engine.sequence import SequenceGroup

log = logging.getLogger(__name__)


def forward_isolated(
    runner: ModelRunner,
    chunks: Sequence[ScheduledChunk],
    *,
    return_hidden: bool,
    fail: Callable[[SequenceGroup], None],
) -> tuple[Sequence[ScheduledChunk], Tensor]:
    """One forward pass over all chunks. If it raises, one pass per group; returns the chunks that succeeded.

    Args:
        runner: computes the pass.
        chunks: the batch.
        return_hidden: return hidden states `(R, C)`, not logits `(R, V)`.
        fail: ends a request whose pass raises.
    """
    try:
        return chunks, runner.forward([chunk.entry for chunk in chunks], return_hidden=return_hidden)
    except BaseException:
        log.exception("a forward pass over %d sequences failed", len(chunks))
    succeeded: list[ScheduledChunk] = []
    outputs = [torch.empty(0)]
    by_group: dict[SequenceGroup, list[ScheduledChunk]] = {}
    for chunk in chunks:
        by_group.setdefault(chunk.group, []).append(chunk)
    for group, group_chunks in by_group.items():
        if len(by_group) == 1:  # the pass that failed had this group only; it would fail again
            fail(group)
            break
        try:  # repeating is harmless: the same keys and values are written to the same positions
            outputs.append(runner.forward([chunk.entry for chunk in group_chunks], return_hidden=return_hidden))
            succeeded += group_chunks
        except BaseException:
            log.exception("the forward pass of one request failed")
            fail(group)
    # `torch.cat` needs at least one tensor: the empty placeholder stays only if no pass succeeded.
    return succeeded, torch.cat(outputs[bool(succeeded) :])
