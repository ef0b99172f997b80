"""What a prompt itself is to the model: how likely its tokens are, and one vector for all of it.

Shapes: R tokens, K likeliest of them, C hidden size, V vocabulary.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from turnwise.core.ports import TokenLogprobs


@torch.inference_mode()
def compute_logprobs(logits_RV: Tensor, tokens: Sequence[int], top: Sequence[int]) -> list[TokenLogprobs]:
    """The log-probability of each row's token, with the likeliest `top` of its row."""
    if not any(top):  # a fifth of the time, and as good to six digits
        chosen_R1 = (
            logits_RV.float().log_softmax(dim=1).gather(1, torch.tensor(tokens, device=logits_RV.device)[:, None])
        )
        return [TokenLogprobs(chosen) for chosen in chosen_R1[:, 0].tolist()]
    logprobs_RV = logits_RV.double().log_softmax(dim=1)
    values_RK, ids_RK = logprobs_RV.topk(min(max(top, default=0), logits_RV.shape[1]), dim=1)
    chosen_R1 = logprobs_RV.gather(1, torch.tensor(tokens, device=logits_RV.device).unsqueeze(1))
    return [
        TokenLogprobs(chosen, tuple(zip(ids[:most], values[:most], strict=True)))
        for chosen, ids, values, most in zip(
            chosen_R1[:, 0].tolist(), ids_RK.tolist(), values_RK.tolist(), top, strict=True
        )
    ]


@torch.inference_mode()
def pool_last_token(last_C: Tensor) -> tuple[float, ...]:
    """The last hidden state of the last token, which has seen the whole text, scaled to length 1 (Wang et al. 2024).

    The mean over all tokens knows half as much (`docs/experiments.md`).
    """
    return tuple(torch.nn.functional.normalize(last_C.double(), dim=0).tolist())
