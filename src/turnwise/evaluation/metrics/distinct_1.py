"""Distinct-1 (Li et al. 2016)."""

from turnwise.evaluation.metrics.distinct_2 import Distinct2Metric


class Distinct1Metric(Distinct2Metric):
    """Distinct words divided by all words."""

    ORDER = 1
    SORT_ORDER = 130
    LABEL = "distinct-1"
    DESCRIPTION = "Distinct words divided by all words, over all replies of a seed. Short replies score higher."
