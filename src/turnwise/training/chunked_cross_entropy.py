"""Cross-entropy over a large vocabulary, a part of the targets at a time.

Scores of a batch over the vocabulary are the largest tensor of a small model: 4,096 targets and 49,152 tokens are
800 MB, and as much again for their gradient. So they are computed for some targets, turned into a gradient of what the
head reads (and of its weights) at once, and forgotten. Losses and gradients are the same up to the order of sums.

Shapes: N targets, C hidden size, V vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

MAX_LOGITS = 2**24  # that are held at once: 64 MB in float32

LmHead = Callable[[Tensor], Tensor]
"""Scores over the vocabulary `(N, V)` of hidden states `(N, C)`."""


def chunked_cross_entropy(score: LmHead, hidden_NC: Tensor, targets_N: Tensor, vocab_size: int) -> Tensor:
    """Cross-entropy in nats at every target, `(N,)`; a backward pass computes the scores again."""
    parts = list(_parts(len(targets_N), vocab_size))
    if len(parts) <= 1:
        return _losses(score, hidden_NC, targets_N)
    if not torch.is_grad_enabled():
        return torch.cat([_losses(score, hidden_NC[part], targets_N[part]) for part in parts])
    found = [checkpoint(_losses, score, hidden_NC[part], targets_N[part], use_reentrant=False) for part in parts]
    return torch.cat(found)


def chunked_cross_entropy_sum(
    score: LmHead,
    hidden_NC: Tensor,
    targets_N: Tensor,
    weights_N: Tensor | None,
    vocab_size: int,
    parameters: Sequence[Tensor],
) -> Tensor:
    """Cross-entropy summed over the targets, each as much as it weighs; the gradient is computed along with it.

    Args:
        score: the model's head.
        hidden_NC: what it reads.
        targets_N: the tokens that should come out.
        weights_N: of the targets; None where all count the same.
        vocab_size: V.
        parameters: the head's.
    """
    parts = list(_parts(len(targets_N), vocab_size))
    if len(parts) <= 1 or not torch.is_grad_enabled():
        return _weighted(chunked_cross_entropy(score, hidden_NC, targets_N, vocab_size), weights_N).sum()
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    total: Tensor = _SummedLoss.apply(score, parts, targets_N, weights_N, hidden_NC, *learning)  # type: ignore[no-untyped-call]
    return total


def _parts(count: int, vocab_size: int) -> Iterator[slice]:
    size = max(1, MAX_LOGITS // vocab_size)
    yield from (slice(start, start + size) for start in range(0, count, size))


def _losses(score: LmHead, hidden_NC: Tensor, targets_N: Tensor) -> Tensor:
    return F.cross_entropy(score(hidden_NC).float(), targets_N, reduction="none")


def _weighted(losses_N: Tensor, weights_N: Tensor | None) -> Tensor:
    return losses_N if weights_N is None else losses_N * weights_N


class _SummedLoss(torch.autograd.Function):
    """A sum of losses that computes its gradients in the forward pass and scales them in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        score: LmHead,
        parts: Sequence[slice],
        targets_N: Tensor,
        weights_N: Tensor | None,
        hidden_NC: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden_NC.device)
        gradients = [torch.zeros_like(tensor) for tensor in (hidden_NC, *parameters)]
        for part in parts:
            with torch.enable_grad():
                read = hidden_NC[part].detach().requires_grad_()
                weights = None if weights_N is None else weights_N[part]
                loss = _weighted(_losses(score, read, targets_N[part]), weights).sum()
                found = torch.autograd.grad(loss, (read, *parameters))
            total += loss.detach()
            gradients[0][part] = found[0]
            for gradient, more in zip(gradients[1:], found[1:], strict=True):
                gradient += more
        ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        return (None, None, None, None, *(gradient * upstream[0] for gradient in ctx.saved_tensors))
