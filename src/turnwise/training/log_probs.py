"""Log-probabilities of a batch's targets.

Shapes: B rows, T tokens, N targets, P packed segments, C hidden size, V vocabulary size, K most likely tokens of a
teacher.
"""

import torch
from torch import Tensor

from turnwise.models.language_model import LanguageModel
from turnwise.training import chunked_cross_entropy as chunked
from turnwise.training.examples.batches import Batch
from turnwise.training.examples.example import IGNORED

TEACHER_IDS, TEACHER_PROBS = "teacher_ids", "teacher_probs"  # token labels `(B, T, K)`; probabilities of 0: no teacher


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Context manager for mixed precision; disabled for float32."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def token_losses(model: LanguageModel, batch: Batch) -> Tensor:
    """Cross-entropy in nats of every target, unweighted, row by row: `(N,)`."""
    hidden_NC, targets_N = hidden_at_targets(model, batch)
    return chunked.chunked_cross_entropy(model.logits, hidden_NC, targets_N, model.vocab_size)


def token_losses_and_logits(model: LanguageModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Cross-entropy in nats and logit of every target, unweighted, row by row: `(N,)` each."""
    hidden_NC, targets_N = hidden_at_targets(model, batch)
    return chunked.chunked_losses_and_logits(model.logits, hidden_NC, targets_N, model.vocab_size)


def cross_entropy_sum(model: LanguageModel, batch: Batch) -> Tensor:
    """Weighted cross-entropy in nats, summed over the batch's targets.

    The target is the distribution of the teacher where the batch has one (`examples/teacher_labels.py`), else a token.
    """
    hidden_NC, targets_N = hidden_at_targets(model, batch)
    is_target_BT = batch.targets_BT != IGNORED
    weights_N = None if batch.weights_BT is None else batch.weights_BT[is_target_BT]
    if TEACHER_PROBS not in batch.token_labels:
        return chunked.chunked_cross_entropy_sum(
            model.logits, hidden_NC, targets_N, weights_N, model.vocab_size, model.head_parameters
        )
    ids_NK, probs_NK = (batch.token_labels[name][is_target_BT] for name in (TEACHER_IDS, TEACHER_PROBS))
    has_teacher_N = probs_NK[:, 0] > 0
    losses_N = hidden_NC.new_zeros(len(targets_N), dtype=torch.float32)
    losses_N[~has_teacher_N] = chunked.chunked_cross_entropy(
        model.logits, hidden_NC[~has_teacher_N], targets_N[~has_teacher_N], model.vocab_size
    )
    losses_N[has_teacher_N] = chunked.chunked_distillation_loss(
        model.logits, hidden_NC[has_teacher_N], ids_NK[has_teacher_N], probs_NK[has_teacher_N], model.vocab_size
    )
    return (losses_N if weights_N is None else losses_N * weights_N).sum()


def segment_log_probs(model: LanguageModel, batch: Batch) -> Tensor:
    """Log-probability of each segment's targets given the tokens before them, `(P,)`."""
    logits_mask_BT = batch.targets_BT != IGNORED
    segments_N = batch.segment_ids_BT[logits_mask_BT].long() - 1  # ids count from 1, because 0 is padding
    losses_N = token_losses(model, batch)
    log_probs_P = losses_N.new_zeros(int(batch.segment_ids_BT.max()))
    return log_probs_P.index_add(0, segments_N, -losses_N)


def hidden_at_targets(model: LanguageModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the hidden states that predict a target, `(N, C)`, and the target ids, `(N,)`."""
    logits_mask_BT = batch.targets_BT != IGNORED
    hidden_NC = model.hidden_states(
        batch.ids_BT,
        logits_mask_BT,
        segment_ids_BT=batch.segment_ids_BT,
        positions_BT=batch.positions_BT,
        encoder_ids_BS=batch.encoder_ids_BS,
        encoder_mask_BS=batch.encoder_mask_BS,
    )
    return hidden_NC, batch.targets_BT[logits_mask_BT]
