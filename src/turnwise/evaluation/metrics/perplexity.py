"""Perplexity per token."""

import numpy as np

from turnwise.evaluation.metric import FloatArray, ratio
from turnwise.evaluation.metrics.bits_per_byte import BitsPerByteMetric

MAX_NATS = 700.0  # per token; exp of more overflows


class PerplexityMetric(BitsPerByteMetric):
    """exp of the cross-entropy per token."""

    SORT_ORDER = 100
    LABEL = "perplexity per token"
    DESCRIPTION = "exp of the cross-entropy per token. Models with different tokenizers cannot be compared by it."
    COUNTS_FOR_VERDICT = False
    VALUE_FORMAT = ".3f"

    def value(self, totals_XK: FloatArray) -> FloatArray:
        """exp of nats per token."""
        return np.exp(np.minimum(ratio(totals_XK[..., 0], totals_XK[..., 2]), MAX_NATS))
