"""A negative flip counts as a loss only if further answers fail clearly more often than before."""

import numpy as np
import pytest

from turnwise.evaluation.flip_confirmation import NUM_ANSWERS, SampledGoldenMetric, confirm_flips
from turnwise.evaluation.flips import Flip
from turnwise.evaluation.golden_set import load_golden_cases
from turnwise.evaluation.metric_runner import MetricResult

CASE = load_golden_cases()[0]


def flip(case_id=CASE.id, *, was_correct=True):
    return Flip(case_id, "small_talk", False, was_correct, (), "yes", "no")


def result(passes):
    """Sampled answers to one case, the first `passes` of which pass."""
    metric = SampledGoldenMetric([flip()])
    sums_SGK = np.array([[[float(seed < passes), 1.0]] for seed in range(NUM_ANSWERS)])
    samples = metric.samples((), 0)
    return MetricResult(metric, samples, [()] * NUM_ANSWERS, [samples[0].group], sums_SGK)


def confirmed(before, after):
    (checked,) = confirm_flips([flip()], result(after), result(before))
    return checked


@pytest.mark.parametrize(
    ("before", "after", "is_loss"), [(20, 13, True), (20, 14, False), (12, 9, False), (15, 4, True), (3, 12, False)]
)
def test_a_loss_needs_clearly_fewer_passes(before, after, is_loss):
    checked = confirmed(before, after)
    assert checked.is_loss is is_loss
    assert (checked.base_pass_rate, checked.pass_rate) == (before / 20, after / 20)


def test_without_further_answers_every_negative_flip_is_a_loss():
    assert [each.is_loss for each in confirm_flips([flip(), flip(was_correct=False)], None, None)] == [True, False]


def test_only_cases_that_the_base_passed_are_answered_again_and_not_greedily():
    other = load_golden_cases()[1].id
    samples = SampledGoldenMetric([flip(), flip(other, was_correct=False)]).samples((), 0)
    assert [sample.metadata["id"] for sample in samples] == [CASE.id]
    assert not any(query.greedy for query in samples[0].generation_queries)
