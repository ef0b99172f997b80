"""What a metric is: what it asks, and sums from which its value follows.

Every metric is a function of sums over dialogues. So one resampling serves all of them, and a value, its interval and
its difference to another model's are one arithmetic (`statistics.py`).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from turnwise.core.messages import Conversation
from turnwise.evaluation.samples import Sample, SampleResult
from turnwise.evaluation.system_under_test import TextGenerator

FloatArray = NDArray[np.float64]


class Metric(ABC):
    """One figure of a scorecard.

    Attributes:
        NAME: its file's, in scorecards, and what `--metrics` calls it.
        ORDER: of a scorecard's lines, the lowest first.
        LABEL: for people, a few words.
        ABOUT: a sentence: what it says, and where it is from.
        BETTER: which way is better; "" where neither is.
        JUDGED: whether the verdict rests on it; others are for understanding.
        GUARD: whether it can only speak against a model: to have less of some faults it is enough to say less.
        RANGE: the least and the most that it can be.
        VALUE_FORMAT: how a value is written, a format such as ".3f" or ".1%".
        BINARY: whether each item is simply right or wrong, so that McNemar's test applies.
        REQUIRES: the capabilities that a system needs; without them the metric is not applicable to it.
        PROBE: whether it asks what was written for it, and looks at no dialogues.
    """

    NAME: ClassVar[str]
    SORT_ORDER: ClassVar[int]
    LABEL: ClassVar[str]
    DESCRIPTION: ClassVar[str]
    BETTER: ClassVar[Literal["higher", "lower", ""]] = ""
    COUNTS_FOR_VERDICT: ClassVar[bool] = False
    ONE_SIDED: ClassVar[bool] = False
    RANGE: ClassVar[tuple[float, float]] = (0.0, math.inf)
    VALUE_FORMAT: ClassVar[str] = ".3f"
    IS_BINARY: ClassVar[bool] = False
    REQUIRES: ClassVar[tuple[type, ...]] = (TextGenerator,)
    IS_PROBE: ClassVar[bool] = False

    @abstractmethod
    def samples(self, dialogues: Sequence[Conversation], seed: int) -> Sequence[Sample]:
        """What it looks at; none where the data has nothing for it. The same dialogues and seed give the same items."""

    @abstractmethod
    def statistics(self, items: Sequence[Sample], found: Sequence[SampleResult]) -> FloatArray:
        """What of each item goes into the sums, `(items, K)`; `found` is what came back, with one seed."""

    def value(self, totals_XK: FloatArray) -> FloatArray:
        """The metric from sums, `(X)`: the first by the second, unless a metric says otherwise."""
        return ratio(totals_XK[..., 0], totals_XK[..., 1])


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Part by whole, and nothing (NaN) of nothing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator == 0, np.nan, numerator / np.where(denominator == 0, 1, denominator))


def statistics_array(rows: Sequence[Sequence[float]], num_columns: int = 2) -> FloatArray:
    """Statistics as an array, also where there are none."""
    return np.array(rows, dtype=np.float64).reshape(len(rows), num_columns)
