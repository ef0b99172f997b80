"""Linear-chain conditional random field over the tags of a sentence (Lafferty et al. 2001).

P(y | x) = exp(s(y)) / Σ_y' exp(s(y')), with the score of a tag sequence

s(y) = start[y₁] + Σ_t emission[t, y_t] + Σ_t transition[y_t, y_{t+1}] + end[y_T]

Shapes: B sentences, T tokens of the longest, K tags.
"""

from typing import Any

import torch
from torch import Tensor, nn

FORBIDDEN = -1e4  # score of a transition that the tag scheme does not allow; finite, so that gradients are


class LinearChainCrf(nn.Module):
    """Scores tag sequences and finds the best one.

    Attributes:
        transition_KK: score of a tag (column) after another (row).
        start_K: score of a tag at the first token.
        end_K: score of a tag at the last token.

    Args:
        can_follow_KK: True where a tag (column) may follow another (row).
        can_start_K: True for tags that may begin a sentence.
    """

    penalty_KK: Tensor
    start_penalty_K: Tensor

    def __init__(self, can_follow_KK: Tensor, can_start_K: Tensor) -> None:
        super().__init__()
        num_tags = len(can_start_K)
        self.transition_KK = nn.Parameter(torch.zeros(num_tags, num_tags))
        self.start_K = nn.Parameter(torch.zeros(num_tags))
        self.end_K = nn.Parameter(torch.zeros(num_tags))
        self.register_buffer("penalty_KK", torch.where(can_follow_KK, 0.0, FORBIDDEN), persistent=False)
        self.register_buffer("start_penalty_K", torch.where(can_start_K, 0.0, FORBIDDEN), persistent=False)

    def negative_log_likelihood(self, emissions_BTK: Tensor, tags_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """−log P(y | x) of every sentence, `(B)`.

        Args:
            emissions_BTK: scores of the tags at every token.
            tags_BT: the tags; any where the mask is False.
            mask_BT: True for tokens; they come first in every row, and every row has one.
        """
        return self._log_partition(emissions_BTK, mask_BT) - self._score(emissions_BTK, tags_BT, mask_BT)

    def decode(self, emissions_BTK: Tensor, mask_BT: Tensor) -> list[list[int]]:
        """The tag sequence with the highest score for every sentence (Viterbi 1967)."""
        with torch.no_grad():
            emissions_BTK = emissions_BTK.float()
            score_BK = self._start() + emissions_BTK[:, 0]
            backpointers = []
            for step in range(1, emissions_BTK.shape[1]):
                best_BK, previous_BK = (score_BK[:, :, None] + self._transition()).max(dim=1)
                is_token_B1 = mask_BT[:, step, None]
                unchanged_BK = torch.arange(score_BK.shape[1], device=score_BK.device).expand_as(previous_BK)
                backpointers.append(torch.where(is_token_B1, previous_BK, unchanged_BK))
                score_BK = torch.where(is_token_B1, best_BK + emissions_BTK[:, step], score_BK)
            tag_B = (score_BK + self.end_K).argmax(dim=1)
            tags = [tag_B]
            for previous_BK in reversed(backpointers):
                tags.append(previous_BK.gather(1, tags[-1][:, None])[:, 0])
            tags_BT = torch.stack(tags[::-1], dim=1).tolist()
        return [row[:length] for row, length in zip(tags_BT, mask_BT.sum(dim=1).tolist(), strict=True)]

    def marginals(self, emissions_BTK: Tensor, mask_BT: Tensor) -> Tensor:
        """P(y_t = k | x) of every tag at every token, `(B, T, K)`: the gradient of log Σ exp(s(y)) by the emissions."""
        with torch.enable_grad():
            emissions_BTK = emissions_BTK.detach().float().requires_grad_()
            (marginals_BTK,) = torch.autograd.grad(self._log_partition(emissions_BTK, mask_BT).sum(), emissions_BTK)
        return marginals_BTK

    def _score(self, emissions_BTK: Tensor, tags_BT: Tensor, mask_BT: Tensor) -> Tensor:
        tags_BT = tags_BT.masked_fill(~mask_BT, 0)
        emission_BT = emissions_BTK.float().gather(2, tags_BT[:, :, None])[:, :, 0] * mask_BT
        transition_BT = self._transition()[tags_BT[:, :-1], tags_BT[:, 1:]] * mask_BT[:, 1:]
        last_B = tags_BT.gather(1, mask_BT.sum(dim=1, keepdim=True) - 1)[:, 0]
        return self._start()[tags_BT[:, 0]] + emission_BT.sum(1) + transition_BT.sum(1) + self.end_K[last_B]

    def _log_partition(self, emissions_BTK: Tensor, mask_BT: Tensor) -> Tensor:
        """log Σ exp(s(y)) over all tag sequences, `(B)`."""
        arguments = emissions_BTK.float(), self._transition(), self._start(), self.end_K, mask_BT
        log_partition_B: Tensor = _LogPartition.apply(*arguments)  # type: ignore[no-untyped-call]
        return log_partition_B

    def _transition(self) -> Tensor:
        return self.transition_KK + self.penalty_KK

    def _start(self) -> Tensor:
        return self.start_K + self.start_penalty_K


class _LogPartition(torch.autograd.Function):
    """log Σ exp(s(y)) by the forward algorithm; its gradient by the backward algorithm (Rabiner 1989).

    The gradient by a score is the expected number of its uses. Autograd through the forward algorithm gives the same,
    but records and runs dozens of small operators per token.
    """

    @staticmethod
    def forward(
        ctx: Any, emissions_BTK: Tensor, transition_KK: Tensor, start_K: Tensor, end_K: Tensor, mask_BT: Tensor
    ) -> Tensor:
        """log Σ exp(s(y)), `(B)`."""
        alphas = [start_K + emissions_BTK[:, 0]]  # log-sums over the tags before, ending in each tag
        for step in range(1, emissions_BTK.shape[1]):
            alpha_BK = torch.logsumexp(alphas[-1][:, :, None] + transition_KK, dim=1) + emissions_BTK[:, step]
            alphas.append(torch.where(mask_BT[:, step, None], alpha_BK, alphas[-1]))
        log_partition_B = torch.logsumexp(alphas[-1] + end_K, dim=1)
        alpha_BTK = torch.stack(alphas, dim=1)
        ctx.save_for_backward(emissions_BTK, transition_KK, end_K, mask_BT, alpha_BTK, log_partition_B)
        return log_partition_B

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Expected numbers of uses, times the gradients of the log-sums."""
        emissions_BTK, transition_KK, end_K, mask_BT, alpha_BTK, log_partition_B = ctx.saved_tensors
        log_partition_B11, gradient_B11 = log_partition_B[:, None, None], gradients[0][:, None, None]
        betas = [end_K.expand_as(alpha_BTK[:, 0])]  # log-sums over the tags after, given each tag
        pairs_BKK = transition_KK.new_zeros(len(log_partition_B), *transition_KK.shape)
        for step in range(emissions_BTK.shape[1] - 1, 0, -1):
            after_BKK = transition_KK + (emissions_BTK[:, step] + betas[-1])[:, None]
            is_token_B1 = mask_BT[:, step, None]
            pair_BKK = alpha_BTK[:, step - 1, :, None] + after_BKK - log_partition_B11
            pairs_BKK += pair_BKK.masked_fill(~is_token_B1[:, :, None], -torch.inf).exp()
            betas.append(torch.where(is_token_B1, torch.logsumexp(after_BKK, dim=2), betas[-1]))
        # At padding the log-sums are those of the last token.
        marginals_BTK = (alpha_BTK + torch.stack(betas[::-1], dim=1) - log_partition_B11).exp() * gradient_B11
        last_BK = marginals_BTK[:, -1]
        pairs_KK = (pairs_BKK * gradient_B11).sum(0)
        return marginals_BTK * mask_BT[:, :, None], pairs_KK, marginals_BTK[:, 0].sum(0), last_BK.sum(0), None
