"""Temperature: divides logits by T, so that pᵢ ∝ exp(zᵢ / T). T < 1 sharpens the distribution, T > 1 flattens it.

T = 0 means greedy decoding, which needs no distribution; such rows are returned unchanged.
"""

import torch
from torch import Tensor

ORDER = 10
REASON = "A temperature of 0 takes only the most likely token."


def apply(logits_BV: Tensor, value_B: Tensor) -> Tensor:
    """Divide each row by its temperature."""
    divisor_B = torch.where(value_B > 0, value_B, 1.0)
    return logits_BV / divisor_B.unsqueeze(1)
