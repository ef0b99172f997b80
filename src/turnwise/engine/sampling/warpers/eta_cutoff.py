"""η-sampling (Hewitt et al. 2022): a token stays if its probability is at least η = min(ε, √ε · exp(−H)).

H is the entropy, in nats, of the distribution as it stands here, and ε the parameter. Where the model is sure the bound
is ε; where it is not, the bound sinks with exp(−H), the probability of each token in a uniform distribution of that
entropy. 0 switches it off. The likeliest token always stays, as do its equals.
"""

import torch
from torch import Tensor

ORDER = 70


def apply(logits_BV: Tensor, value_B: Tensor) -> Tensor:
    """Mask what is less likely than each row's η."""
    logp_BV = logits_BV.log_softmax(dim=1)
    p_BV = logp_BV.exp()
    # In double: a lone row's sum is parted among threads, and must still be the one it has in company.
    entropy_B = -torch.where(p_BV > 0, p_BV * logp_BV, 0.0).sum(dim=1, dtype=torch.float64)
    epsilon_B = value_B.double()
    eta_B1 = torch.minimum(epsilon_B, epsilon_B.sqrt() * (-entropy_B).exp()).to(logits_BV).unsqueeze(1)
    too_rare_BV = (p_BV < eta_B1) & (logits_BV < logits_BV.amax(dim=1, keepdim=True))
    return logits_BV.masked_fill(too_rare_BV, -torch.inf)
