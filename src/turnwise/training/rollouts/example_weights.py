"""Weights of all tokens of an example, for steps that mix human and sampled replies."""

from dataclasses import replace

import numpy as np

from turnwise.training.examples.example import Example


def with_weight(example: Example, weight: float) -> Example:
    """Return the example with each token's weight multiplied by `weight`."""
    weights = np.ones(example.size, np.float32) if example.weights is None else example.weights
    return replace(example, weights=(weights * weight).astype(np.float32))
