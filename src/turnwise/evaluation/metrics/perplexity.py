"""Perplexity by token: perplexity."""

import numpy as np

from turnwise.evaluation.metric import Floats, ratio
from turnwise.evaluation.metrics import bits_per_byte

MOST = 700.0  # nats; a hopeless model's perplexity is not infinite


class Metric(bits_per_byte.Metric):
    """The same cross-entropy by token, as papers have it."""

    ORDER = 100
    LABEL = "perplexity per token"
    ABOUT = "exp of the cross-entropy by token of the model's own tokenizer; no figure across tokenizers."
    JUDGED = False
    SHOWN = ".3f"

    def value(self, totals_XK: Floats) -> Floats:
        """exp of nats by token."""
        return np.exp(np.minimum(ratio(totals_XK[..., 0], totals_XK[..., 2]), MOST))
