"""Does it still do right what it did right? golden: cases written for this, whatever the data is."""

from collections.abc import Sequence
from functools import cached_property

from turnwise.core.messages import Conversation
from turnwise.evaluation import metric
from turnwise.evaluation.golden_case import GoldenCase, passes_case
from turnwise.evaluation.golden_set import load_golden_cases
from turnwise.evaluation.metric import FloatArray, statistics_array
from turnwise.evaluation.samples import GenerationQuery, Sample, SampleResult


class GoldenMetric(metric.Metric):
    """The share of the golden set's cases that are answered rightly."""

    SORT_ORDER = 5
    LABEL = "golden set"
    DESCRIPTION = (
        "How many of the cases in the golden set are answered rightly by the likeliest answer: all that has to be said "
        "is, and nothing that must not be. What was right before and is wrong now is a negative flip (Yan et al. 2021)."
    )
    BETTER = "higher"
    RANGE = (0.0, 1.0)
    COUNTS_FOR_VERDICT = True
    VALUE_FORMAT = ".1%"
    IS_BINARY = True
    IS_PROBE = True

    def __init__(self, cases: Sequence[GoldenCase] | None = None) -> None:
        """`cases` are other ones than those of the golden set that comes with the package."""
        self._chosen = cases

    @cached_property
    def _cases(self) -> dict[str, GoldenCase]:
        """Read only when somebody looks at them."""
        return {case.id: case for case in (load_golden_cases() if self._chosen is None else self._chosen)}

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """One for every case: the data is not looked at."""
        del dialogues, seed
        return [
            Sample(
                f"golden {case.id}",
                (GenerationQuery(case.messages, greedy=True),),
                reference=case.passing_answer,
                metadata={"id": case.id, "kind": case.kind, "safety": case.is_safety},
            )
            for case in self._cases.values()
        ]

    def statistics(self, items: Sequence[Sample], found: Sequence[SampleResult]) -> FloatArray:
        """Passed, asked."""
        return statistics_array(
            [
                (float(passes_case(self._cases[item.metadata["id"]], each.outputs[0].text)), 1.0)
                for item, each in zip(items, found, strict=True)
            ]
        )
