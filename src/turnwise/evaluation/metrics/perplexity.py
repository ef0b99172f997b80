"""Perplexity by token: perplexity."""

import numpy as np

from turnwise.evaluation.metric import FloatArray, ratio
from turnwise.evaluation.metrics import bits_per_byte

MOST = 700.0  # nats; a hopeless model's perplexity is not infinite


class PerplexityMetric(bits_per_byte.BitsPerByteMetric):
    """The same cross-entropy by token, as papers have it."""

    SORT_ORDER = 100
    LABEL = "perplexity per token"
    DESCRIPTION = "exp of the cross-entropy by token of the model's own tokenizer; no figure across tokenizers."
    COUNTS_FOR_VERDICT = False
    VALUE_FORMAT = ".3f"

    def value(self, totals_XK: FloatArray) -> FloatArray:
        """exp of nats by token."""
        return np.exp(np.minimum(ratio(totals_XK[..., 0], totals_XK[..., 2]), MOST))
