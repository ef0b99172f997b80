"""What a prompt itself is to the model: how likely its tokens are, and one vector for all of it.

Shapes: R tokens, K likeliest of them, C hidden size, V vocabulary.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from turnwise.core.ports import TokenLogprobs


@torch.inference_mode()
def logprobs_of(logits_RV: Tensor, tokens: Sequence[int], top: Sequence[int]) -> list[TokenLogprobs]:
    """The log-probability of each row's token, with the likeliest `top` of its row."""
    logprobs_RV = logits_RV.double().log_softmax(dim=1)
    values_RK, ids_RK = logprobs_RV.topk(min(max(top, default=0), logits_RV.shape[1]), dim=1)
    chosen_R1 = logprobs_RV.gather(1, torch.tensor(tokens, device=logits_RV.device).unsqueeze(1))
    return [
        TokenLogprobs(chosen, tuple(zip(ids[:most], values[:most], strict=True)))
        for chosen, ids, values, most in zip(
            chosen_R1[:, 0].tolist(), ids_RK.tolist(), values_RK.tolist(), top, strict=True
        )
    ]


def prompt_logprobs(parts: Iterable[Tensor], ids: Sequence[int], top: int) -> tuple[tuple[TokenLogprobs, ...], Tensor]:
    """Reports on every token but the first, and the logits after the last one, `(1, V)`.

    Args:
        parts: the logits after each token, `(R, V)` at a time, so that a long prompt's are never held together.
        ids: the tokens.
        top: how many of the likeliest tokens to report at each place.
    """
    reports: list[TokenLogprobs] = []
    last_1V = torch.empty(0)
    for logits_RV in parts:
        following = ids[len(reports) + 1 : len(reports) + 1 + len(logits_RV)]
        reports += logprobs_of(logits_RV[: len(following)], following, [top] * len(following))
        last_1V = logits_RV[-1:]
    return tuple(reports), last_1V


@torch.inference_mode()
def embedding_of(parts: Iterable[Tensor]) -> tuple[float, ...]:
    """The last hidden state of the last token, which has seen the whole text, scaled to length 1 (Wang et al. 2024).

    `parts` are the hidden states, `(R, C)` at a time. Their mean knows half as much (`docs/experiments.md`).
    """
    *_, last_RC = parts
    return tuple(torch.nn.functional.normalize(last_RC[-1].double(), dim=0).tolist())
