"""η-sampling (Hewitt et al. 2022): keeps tokens with probability of at least η = min(ε, √ε · exp(−H)).

H is the entropy, in nats, of the distribution before this warper, and ε the parameter. The threshold is ε where the
model is certain; where it is uncertain, the threshold falls with exp(−H), the probability of a token in a uniform
distribution of the same entropy. 0 switches it off. The most likely token and its equals are always kept.
"""

import torch
from torch import Tensor

ORDER = 70
REASON = "It is less likely than the entropy-dependent threshold of eta {value:g}."


def apply(logits_BV: Tensor, value_B: Tensor) -> Tensor:
    """Mask tokens with pᵢ < η."""
    logp_BV = logits_BV.log_softmax(dim=1)
    p_BV = logp_BV.exp()
    # In float64, so that the sum does not depend on how torch splits it among threads, hence not on the batch size.
    entropy_B = -torch.where(p_BV > 0, p_BV * logp_BV, 0.0).sum(dim=1, dtype=torch.float64)
    epsilon_B = value_B.double()
    eta_B1 = torch.minimum(epsilon_B, epsilon_B.sqrt() * (-entropy_B).exp()).to(logits_BV).unsqueeze(1)
    masked_BV = (p_BV < eta_B1) & (logits_BV < logits_BV.amax(dim=1, keepdim=True))
    return logits_BV.masked_fill(masked_BV, -torch.inf)
