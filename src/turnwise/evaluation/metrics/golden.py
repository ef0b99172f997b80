"""Accuracy on the golden set."""

from collections.abc import Sequence
from functools import cached_property

from turnwise.core.messages import Conversation
from turnwise.evaluation.golden_case import GoldenCase, passes_case
from turnwise.evaluation.golden_set import load_golden_cases
from turnwise.evaluation.metric import FloatArray, Metric, statistics_array
from turnwise.evaluation.samples import GenerationQuery, Sample, SampleResult


class GoldenMetric(Metric):
    """Share of golden cases that pass."""

    SORT_ORDER = 5
    LABEL = "golden set"
    DESCRIPTION = (
        "Share of golden cases whose greedy answer has all required and no forbidden content. A case that the base "
        "passes and the model fails is a negative flip (Yan et al. 2021)."
    )
    BETTER = "higher"
    RANGE = (0.0, 1.0)
    COUNTS_FOR_VERDICT = True
    VALUE_FORMAT = ".1%"
    IS_BINARY = True
    IS_PROBE = True

    def __init__(self, cases: Sequence[GoldenCase] | None = None) -> None:
        """Use `cases`. Default: the bundled golden set."""
        self._custom_cases = cases

    @cached_property
    def _cases(self) -> dict[str, GoldenCase]:
        """The cases by id, loaded on first use."""
        return {case.id: case for case in (load_golden_cases() if self._custom_cases is None else self._custom_cases)}

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """One sample per case; the dialogues are ignored."""
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

    def statistics(self, samples: Sequence[Sample], results: Sequence[SampleResult]) -> FloatArray:
        """1 if the case passes, and 1."""
        return statistics_array(
            [
                (float(passes_case(self._cases[sample.metadata["id"]], result.outputs[0].text)), 1.0)
                for sample, result in zip(samples, results, strict=True)
            ]
        )
