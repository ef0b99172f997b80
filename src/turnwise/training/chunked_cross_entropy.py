"""Cross-entropy over a large vocabulary in chunks of targets, to save memory.

The logits of a batch are the largest tensor of a small model: 4,096 targets × 49,152 tokens are 800 MB, and their
gradient as much again. They are computed for one chunk at a time, turned into gradients of the hidden states and the
head, and freed. Losses and gradients equal those of one large chunk up to the order of summation.

Shapes: N targets, C hidden size, V vocabulary size, K most likely tokens of a teacher.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

SMALLEST_REST = 1e-6  # probability of all tokens that a teacher's labels do not name; float32 rounds smaller ones
MAX_LOGITS = 2**24  # logits per chunk: 64 MB in float32

LmHead = Callable[[Tensor], Tensor]
"""Maps hidden states `(N, C)` to logits `(N, V)`."""


def chunked_cross_entropy(score: LmHead, hidden_NC: Tensor, targets_N: Tensor, vocab_size: int) -> Tensor:
    """Return the cross-entropy in nats of every target, `(N,)`; the backward pass recomputes the logits."""
    return _map_chunks(_losses, score, hidden_NC, targets_N, vocab_size)


def chunked_losses_and_logits(
    score: LmHead, hidden_NC: Tensor, targets_N: Tensor, vocab_size: int
) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy in nats and the logit of every target, `(N,)` each; the backward pass recomputes logits.

    Their sum is the logsumexp of all logits at the target.
    """
    losses_N, logits_N = _map_chunks(_losses_and_logits, score, hidden_NC, targets_N, vocab_size)
    return losses_N, logits_N


def chunked_distillation_loss(
    score: LmHead, hidden_NC: Tensor, ids_NK: Tensor, probs_NK: Tensor, vocab_size: int
) -> Tensor:
    """Return the cross-entropy in nats against a teacher's distribution, `(N,)`; the backward pass recomputes logits.

    Args:
        score: the language-model head.
        hidden_NC: hidden states at the targets.
        ids_NK: most likely tokens of the teacher.
        probs_NK: their probabilities; all further tokens count as one outcome.
        vocab_size: V.
    """
    losses = [
        checkpoint(_distillation_losses, score, hidden_NC[chunk], ids_NK[chunk], probs_NK[chunk], use_reentrant=False)
        for chunk in _chunks(len(ids_NK), vocab_size)
    ]
    return torch.cat(losses) if losses else hidden_NC.new_zeros(0, dtype=torch.float32)


def chunked_cross_entropy_sum(
    score: LmHead,
    hidden_NC: Tensor,
    targets_N: Tensor,
    weights_N: Tensor | None,
    vocab_size: int,
    parameters: Sequence[Tensor],
) -> Tensor:
    """Return the weighted sum of the cross-entropy; the forward pass also computes the gradients.

    Args:
        score: the language-model head.
        hidden_NC: hidden states at the targets.
        targets_N: target token ids.
        weights_N: loss weights; None: all 1.
        vocab_size: V.
        parameters: parameters of the head.
    """
    chunks = list(_chunks(len(targets_N), vocab_size))
    if len(chunks) <= 1 or not torch.is_grad_enabled():
        return _weighted(chunked_cross_entropy(score, hidden_NC, targets_N, vocab_size), weights_N).sum()
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    total: Tensor = _SummedLoss.apply(score, chunks, targets_N, weights_N, hidden_NC, *trainable)  # type: ignore[no-untyped-call]
    return total


def _chunks(count: int, vocab_size: int) -> Iterator[slice]:
    size = max(1, MAX_LOGITS // vocab_size)
    yield from (slice(start, start + size) for start in range(0, count, size))


def _map_chunks(
    function: Callable[[LmHead, Tensor, Tensor], Tensor],
    score: LmHead,
    hidden_NC: Tensor,
    targets_N: Tensor,
    vocab_size: int,
) -> Tensor:
    """Apply a function of head, hidden states and targets to every chunk; join the results at their last dimension."""
    chunks = list(_chunks(len(targets_N), vocab_size))
    if len(chunks) <= 1:
        return function(score, hidden_NC, targets_N)
    if not torch.is_grad_enabled():
        return torch.cat([function(score, hidden_NC[chunk], targets_N[chunk]) for chunk in chunks], dim=-1)
    results = [checkpoint(function, score, hidden_NC[chunk], targets_N[chunk], use_reentrant=False) for chunk in chunks]
    return torch.cat(results, dim=-1)


def _losses(score: LmHead, hidden_NC: Tensor, targets_N: Tensor) -> Tensor:
    return F.cross_entropy(score(hidden_NC).float(), targets_N, reduction="none")


def _losses_and_logits(score: LmHead, hidden_NC: Tensor, targets_N: Tensor) -> Tensor:
    logits_NV = score(hidden_NC).float()
    losses_N = F.cross_entropy(logits_NV, targets_N, reduction="none")
    return torch.stack([losses_N, logits_NV.gather(1, targets_N[:, None])[:, 0]])


def _distillation_losses(score: LmHead, hidden_NC: Tensor, ids_NK: Tensor, probs_NK: Tensor) -> Tensor:
    log_probs_NK = score(hidden_NC).float().log_softmax(dim=-1).gather(1, ids_NK)
    rest_N = (1 - probs_NK.sum(dim=-1)).clamp_min(0)
    log_rest_N = (1 - log_probs_NK.exp().sum(dim=-1)).clamp_min(SMALLEST_REST).log()
    return -(probs_NK * log_probs_NK).sum(dim=-1) - rest_N * log_rest_N


def _weighted(losses_N: Tensor, weights_N: Tensor | None) -> Tensor:
    return losses_N if weights_N is None else losses_N * weights_N


class _SummedLoss(torch.autograd.Function):
    """Sum of losses whose gradients are computed in the forward pass and scaled in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        score: LmHead,
        chunks: Sequence[slice],
        targets_N: Tensor,
        weights_N: Tensor | None,
        hidden_NC: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden_NC.device)
        gradients = [torch.zeros_like(tensor) for tensor in (hidden_NC, *parameters)]
        for chunk in chunks:
            with torch.enable_grad():
                chunk_NC = hidden_NC[chunk].detach().requires_grad_()
                weights = None if weights_N is None else weights_N[chunk]
                loss = _weighted(_losses(score, chunk_NC, targets_N[chunk]), weights).sum()
                grads = torch.autograd.grad(loss, (chunk_NC, *parameters))
            total += loss.detach()
            gradients[0][chunk] = grads[0]
            for gradient, grad in zip(gradients[1:], grads[1:], strict=True):
                gradient += grad
        ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        return (None, None, None, None, *(gradient * upstream[0] for gradient in ctx.saved_tensors))
