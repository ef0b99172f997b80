"""What a model makes of a batch. Shapes: B rows, T tokens, N targets, P parts, V vocabulary."""

import torch
from torch import Tensor

from turnwise.models.language_model import LanguageModel
from turnwise.training import chunked_cross_entropy as chunked
from turnwise.training.examples.batches import IGNORED, Batch


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Arithmetic in this type, within the block."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def token_losses(model: LanguageModel, batch: Batch) -> Tensor:
    """Cross-entropy in nats at every target, `(N,)`, row by row, whatever the targets weigh."""
    hidden_NC, targets_N = _read(model, batch)
    return chunked.chunked_cross_entropy(model.logits, hidden_NC, targets_N, model.vocab_size)


def cross_entropy_sum(model: LanguageModel, batch: Batch) -> Tensor:
    """Cross-entropy summed over the batch's targets, each as much as it weighs."""
    hidden_NC, targets_N = _read(model, batch)
    weights_N = None if batch.weights_BT is None else batch.weights_BT[batch.targets_BT != IGNORED]
    return chunked.chunked_cross_entropy_sum(
        model.logits, hidden_NC, targets_N, weights_N, model.vocab_size, model.head_parameters
    )  # fmt: skip


def _read(model: LanguageModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """What the model's head reads at every target, `(N, C)`, and the targets."""
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


def segment_log_probs(model: LanguageModel, batch: Batch) -> Tensor:
    """The log-probability of each part's targets together, `(P,)`: log P(reply | what came before)."""
    logits_mask_BT = batch.targets_BT != IGNORED
    parts_N = batch.segment_ids_BT[logits_mask_BT].long() - 1
    losses_N = token_losses(model, batch)
    found_P = losses_N.new_zeros(int(batch.segment_ids_BT.max()))
    return found_P.index_add(0, parts_N, -losses_N)
