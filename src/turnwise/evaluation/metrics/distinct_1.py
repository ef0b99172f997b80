"""Different words by all words: distinct_1."""

from turnwise.evaluation.metrics import distinct_2


class Distinct1Metric(distinct_2.Distinct2Metric):
    """Different words by all of them."""

    WORDS = 1
    SORT_ORDER = 130
    LABEL = "distinct-1"
    DESCRIPTION = "Different words by all words, over all answers of a seed; shorter answers have more."
