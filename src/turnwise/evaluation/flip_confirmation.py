"""Confirms negative flips: answers the cases again, several times, and compares how often both systems pass.

A small model decides many cases by a hair. Rounding its weights to 8 bits flips some 8 % of the golden set in both
directions, so one greedy answer does not tell a loss from chance (`docs/experiments.md`). Sampled answers do: a case
is lost if the model passes it clearly less often, by Fisher's exact test.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import stats

from turnwise.core.messages import Conversation
from turnwise.evaluation.flips import Flip
from turnwise.evaluation.golden_set import load_golden_cases
from turnwise.evaluation.metric_runner import MetricResult
from turnwise.evaluation.metrics.golden import GoldenMetric
from turnwise.evaluation.samples import Sample

NUM_ANSWERS = 20  # per case and system
MAX_P_VALUE = 0.01  # of a loss: at 20 answers each, 20 passes against at most 13


class SampledGoldenMetric(GoldenMetric):
    """Share of sampled answers that pass, on the golden cases of negative flips."""

    NAME = "golden_sampled"
    LABEL = "golden set, sampled answers"
    SORT_ORDER = 6

    def __init__(self, flips: Sequence[Flip]) -> None:
        """Use the cases of the negative flips."""
        lost = {flip.case_id for flip in flips if flip.was_correct}
        super().__init__([case for case in load_golden_cases() if case.id in lost])

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """One sample per case, answered with the system's own sampling parameters."""
        return [
            replace(
                sample,
                generation_queries=tuple(replace(query, greedy=False) for query in sample.generation_queries),
            )
            for sample in super().samples(dialogues, seed)
        ]


def confirm_flips(flips: Sequence[Flip], model: MetricResult | None, base: MetricResult | None) -> tuple[Flip, ...]:
    """The flips with the pass rates of sampled answers.

    Args:
        flips: the flips.
        model: result of a `SampledGoldenMetric` for the model; None: no case was answered again.
        base: the same for the base.
    """
    if model is None or base is None:
        return tuple(flips)
    passes, base_passes = _passes_by_case(model), _passes_by_case(base)
    num_answers, num_base_answers = len(model.results_by_seed), len(base.results_by_seed)

    def confirm(flip: Flip) -> Flip:
        if flip.case_id not in passes:
            return flip
        new, old = passes[flip.case_id], base_passes[flip.case_id]
        table = np.array([[old, num_base_answers - old], [new, num_answers - new]])
        p_value = float(stats.fisher_exact(table, alternative="greater").pvalue)
        return replace(
            flip,
            base_pass_rate=old / num_base_answers,
            pass_rate=new / num_answers,
            is_confirmed=p_value <= MAX_P_VALUE,
        )

    return tuple(map(confirm, flips))


def _passes_by_case(result: MetricResult) -> dict[str, int]:
    passes_SG = result.sums_SGK[:, :, 0]
    ids = [str(sample.metadata["id"]) for sample in result.samples]  # one sample per group
    return {case_id: int(count) for case_id, count in zip(ids, passes_SG.sum(axis=0), strict=True)}
