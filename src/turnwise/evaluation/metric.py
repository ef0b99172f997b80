"""Base class of metrics.

A metric is a function of sums over dialogues. So one resampling procedure serves all metrics: a value, its confidence
interval and the difference between two systems follow from the same sums (`statistics.py`).

Shapes: I samples, K sums of a metric, X sets of sums.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from turnwise.core.messages import Conversation
from turnwise.evaluation.samples import Sample, SampleResult
from turnwise.evaluation.system_under_test import TextGenerator

FloatArray = NDArray[np.float64]


class MetricDefinition:
    """One row of a scorecard: a function of sums over dialogues, or over the texts of a classifier.

    Attributes:
        NAME: used in scorecards and by `--metrics`; the loader sets it to the name of a metric's module.
        LABEL: short name for people.
        DESCRIPTION: one or two sentences for reports: definition and source.
        BETTER: the better direction; "" if neither is better.
        COUNTS_FOR_VERDICT: True if the verdict depends on it.
        ONE_SIDED: True if it can only count against a model. Some faults become rarer just because answers get shorter.
        RANGE: smallest and largest possible value.
        VALUE_FORMAT: format of a value, such as ".3f" or ".1%".
        IS_BINARY: True if a sample is either right or wrong, so that McNemar's test applies.
    """

    NAME: ClassVar[str]
    LABEL: ClassVar[str]
    DESCRIPTION: ClassVar[str]
    BETTER: ClassVar[Literal["higher", "lower", ""]] = ""
    COUNTS_FOR_VERDICT: ClassVar[bool] = False
    ONE_SIDED: ClassVar[bool] = False
    RANGE: ClassVar[tuple[float, float]] = (0.0, math.inf)
    VALUE_FORMAT: ClassVar[str] = ".3f"
    IS_BINARY: ClassVar[bool] = False

    def value(self, totals_XK: FloatArray) -> FloatArray:
        """Return the metric's value for sums, shape `(X)`. Default: the first sum divided by the second."""
        return ratio(totals_XK[..., 0], totals_XK[..., 1])

    def gradient(self, totals_XK: FloatArray) -> FloatArray | None:  # noqa: ARG002
        """Return the derivatives of the value, shape `(X, K)`; None: they are computed as differences.

        A metric with hundreds of sums should return them, since each difference computes the value once more.
        """
        return None


class Metric(MetricDefinition, ABC):
    """A metric of chat models, with the samples that it needs.

    Attributes:
        SORT_ORDER: position in a scorecard, lowest first.
        REQUIRES: capabilities that a system needs. The metric is skipped for systems that lack one.
        IS_PROBE: True if it brings its own samples and ignores the dialogues.
    """

    SORT_ORDER: ClassVar[int]
    REQUIRES: ClassVar[tuple[type, ...]] = (TextGenerator,)
    IS_PROBE: ClassVar[bool] = False

    @abstractmethod
    def samples(self, dialogues: Sequence[Conversation], seed: int) -> Sequence[Sample]:
        """Build the samples; none if the dialogues do not suit the metric. Deterministic for a seed."""

    @abstractmethod
    def statistics(self, samples: Sequence[Sample], results: Sequence[SampleResult]) -> FloatArray:
        """Return the summands of every sample, shape `(I, K)`, from the results of one seed."""


class MetricSums(Protocol):
    """The statistics of one metric: a `MetricResult` of a chat model, or those of a classifier.

    Shapes: S seeds, G dialogues or texts, K sums.
    """

    @property
    def metric(self) -> MetricDefinition:
        """The metric."""

    @property
    def groups(self) -> Sequence[str]:
        """Ids of the dialogues or texts, `(G)`."""

    @property
    def sums_SGK(self) -> FloatArray:
        """Statistics per seed and dialogue."""

    @property
    def sums_GK(self) -> FloatArray:
        """Statistics summed over seeds."""


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Divide; NaN where the denominator is zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator == 0, np.nan, numerator / np.where(denominator == 0, 1, denominator))


def statistics_array(rows: Sequence[Sequence[float]], num_columns: int = 2) -> FloatArray:
    """Return rows as an array that has `num_columns` columns even if there are no rows."""
    return np.array(rows, dtype=np.float64).reshape(len(rows), num_columns)
