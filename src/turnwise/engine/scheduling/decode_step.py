"""Samples the next token of every sequence and verifies drafts.

A draft (Leviathan et al. 2023) is computed in the same forward pass as the token before it. Each sequence samples as it
would without a draft. If the sampled token equals the draft's, the logits after it are already available and it samples
again. So outputs are the same with and without drafts, token by token, for greedy and for random sampling.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import Tensor

from turnwise.core.inference import ErrorEvent, FinishEvent, FinishReason, GenerationEvent, TokenEvent
from turnwise.engine.generation_errors import GenerationFailed
from turnwise.engine.sampling.sampler import SamplerOutput, sample_batch
from turnwise.engine.sequence import SequenceGroup

log = logging.getLogger(__name__)


def decode_step(
    groups: Sequence[SequenceGroup], rows: Sequence[int], logits_RV: Tensor
) -> Iterator[tuple[SequenceGroup, GenerationEvent]]:
    """Append one token to every group, or several where drafts are correct; yields the events in order.

    Args:
        groups: each has one sequence.
        rows: for each group the row of its last token's logits; those of its draft's tokens follow.
        logits_RV: R rows, V vocabulary. Modified in place.
    """
    active, num_accepted = list(zip(groups, rows, strict=True)), 0
    while active:
        active_rows = [row + num_accepted for _, row in active]
        logits_BV = logits_RV if len(active_rows) == len(logits_RV) else logits_RV[active_rows]
        outputs = sample_batch(
            logits_BV,
            [group.sampler_state for group, _ in active],
            [group.sequence.logits_state for group, _ in active],
        )
        still_active = []
        for (group, row), output in zip(active, outputs, strict=True):
            event = _append_token(group, output)
            draft = group.sequence.draft
            if num_accepted < len(draft.ids):
                if event.finish_reason is None and output.token_id == draft.ids[num_accepted]:
                    _accept_draft_token(group)
                    still_active.append((group, row))
                elif draft.is_prediction:
                    rejected = group.stats.rejected_prediction_tokens + len(draft.ids) - num_accepted
                    group.stats = replace(group.stats, rejected_prediction_tokens=rejected)
            yield group, event
        active, num_accepted = still_active, num_accepted + 1


def _append_token(group: SequenceGroup, output: SamplerOutput) -> GenerationEvent:
    """Append a sampled token to the group's sequence; the event says whether the request has finished."""
    if output.error is not None:
        return ErrorEvent(output.error)
    if output.token_id in group.request.stop_ids:
        return FinishEvent("stop", output.token_id, output.logprobs)
    sequence = group.sequence
    sequence.ids.append(output.token_id)
    finish_reason: FinishReason | None = None
    try:
        sequence.logits_state.accept(output.token_id)
        is_complete = sequence.logits_state.is_complete
    except BaseException:
        log.exception("a logits processor or constraint of a request failed")
        return ErrorEvent(GenerationFailed())
    if is_complete:
        finish_reason = "stop"
    elif group.num_generated_tokens >= group.request.max_tokens:
        finish_reason = "length"
    return TokenEvent(output.token_id, finish_reason, logprobs=output.logprobs, stats=group.stats)


def _accept_draft_token(group: SequenceGroup) -> None:
    """Count the appended token as computed: the forward pass has computed it as part of the draft."""
    table = group.sequence.table
    assert table is not None, "the forward pass has used the table"
    table.num_computed_tokens += 1
    group.sequence.num_accepted += 1
    stats = group.stats
    group.stats = replace(
        stats,
        accepted_draft_tokens=stats.accepted_draft_tokens + 1,
        accepted_prediction_tokens=stats.accepted_prediction_tokens + group.sequence.draft.is_prediction,
    )
