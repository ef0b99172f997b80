"""The comparison of arms at equal diversity, and the verdict."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.evaluation.metric import MetricDefinition
from turnwise.evaluation.statistics import ConfidenceInterval


class TestInterpolation:
    @given(
        points=st.lists(
            st.tuples(st.integers(0, 100), st.floats(-10, 10)), min_size=1, max_size=6, unique_by=lambda point: point[0]
        ),
        targets=st.lists(st.floats(-20, 120), min_size=1, max_size=4),
    )
    def test_it_is_linear_between_points_and_constant_beyond_them(self, scripts, points, targets):
        x, y = np.array(points).T
        values = scripts["equal_diversity"].interpolate(x[None], y[None], np.array(targets)[None])[0]
        order = np.argsort(x)
        np.testing.assert_allclose(values, np.interp(targets, x[order], y[order]), atol=1e-9)

    def test_each_row_has_its_points(self, scripts):
        x_XT, y_XT = np.array([[0.0, 1.0], [1.0, 3.0]]), np.array([[0.0, 10.0], [0.0, 10.0]])
        values_XQ = scripts["equal_diversity"].interpolate(x_XT, y_XT, np.array([[0.5, 1.0], [2.0, 9.0]]))
        np.testing.assert_allclose(values_XQ, [[5, 10], [5, 10]])


class MeanMetric(MetricDefinition):
    """The mean of a score."""


def curve_sums(scripts, points, *, num_dialogues=60, noise=0.0, seed=0, difficulty=None):
    """Sums of an arm whose points are (distinct-2, quality); dialogues differ in difficulty and by noise."""
    rng = np.random.default_rng(seed)
    ones_G = np.ones(num_dialogues)
    difficulty_G = np.zeros(num_dialogues) if difficulty is None else difficulty
    return scripts["equal_diversity"].CurveSums(
        [np.stack([10 * diversity * ones_G, 10 * ones_G], axis=1) for diversity, _ in points],
        [
            np.stack([quality + difficulty_G + noise * rng.standard_normal(num_dialogues), ones_G], axis=1)
            for _, quality in points
        ],
        MeanMetric(),
    )


class TestEqualDiversity:
    REFERENCE = ((0.1, 50.0), (0.2, 40.0), (0.3, 30.0))

    def compare(self, scripts, arm, reference=None, **options):
        reference = curve_sums(scripts, self.REFERENCE) if reference is None else reference
        return scripts["equal_diversity"].compare_at_equal_diversity(
            arm, reference, **({"is_relative": True, "resamples": 199} | options)
        )

    def test_another_point_of_the_same_curve_is_no_gain(self, scripts):
        """An arm that is only less diverse has a higher quality at every temperature."""
        difference = self.compare(scripts, curve_sums(scripts, ((0.05, 55.0), (0.15, 45.0), (0.25, 35.0))))
        assert difference.value == pytest.approx(0)
        assert difference.num_points == 2, "0.3 is beyond the most diverse point of the arm"

    def test_a_gain_is_relative_to_the_reference(self, scripts):
        arm = curve_sums(scripts, tuple((diversity, 1.1 * quality) for diversity, quality in self.REFERENCE))
        assert self.compare(scripts, arm).value == pytest.approx(0.1)
        assert self.compare(scripts, arm, is_relative=False).value == pytest.approx(4)

    def test_arms_without_common_diversity_are_not_compared(self, scripts):
        difference = self.compare(scripts, curve_sums(scripts, ((0.6, 90.0), (0.7, 80.0))))
        assert np.isnan([difference.value, difference.interval.low, difference.interval.high]).all()
        assert difference.num_points == 0

    def test_the_bootstrap_is_paired_over_dialogues(self, scripts):
        """The difficulty of a dialogue is common to both arms, so it cancels, unless the dialogues are mixed up."""
        difficulty = 20 * np.random.default_rng(5).standard_normal(60)
        reference = curve_sums(scripts, self.REFERENCE, noise=1, seed=1, difficulty=difficulty)
        better = tuple((diversity, quality + 3) for diversity, quality in self.REFERENCE)
        paired = self.compare(scripts, curve_sums(scripts, better, noise=1, seed=2, difficulty=difficulty), reference)
        mixed = self.compare(
            scripts, curve_sums(scripts, better, noise=1, seed=2, difficulty=difficulty[::-1]), reference
        )
        assert paired.interval.low > 0.05
        assert mixed.interval.low < 0 < mixed.interval.high
        assert paired.value == pytest.approx(mixed.value, abs=0.01)

    def test_values_without_a_curve_are_compared_too(self, scripts):
        arm_GK, reference_GK = (np.stack([np.full(20, value), np.ones(20)], axis=1) for value in (3.0, 2.0))
        difference = scripts["equal_diversity"].compare_values(arm_GK, reference_GK, MeanMetric(), is_relative=True)
        assert difference.value == pytest.approx(0.5)
        assert difference.interval == ConfidenceInterval(pytest.approx(0.5), pytest.approx(0.5))


class TestVerdict:
    def comparison(self, scripts, **changes):
        def difference(value, low, high, num_points=5):
            return scripts["equal_diversity"].Difference(value, ConfidenceInterval(low, high), num_points)

        figures = {
            "quality": (0.08, 0.02, 0.14), "gate_pass": (0.1, 0.05, 0.2), "evaluator": (-0.07, -0.1, -0.04),
            "perplexity": (0.03, 0.01, 0.05), "length": 0.04,
        } | changes  # fmt: skip
        return scripts["arm_comparison"].ArmComparison(
            "adversarial", difference(*figures["quality"]), difference(*figures["gate_pass"]), {},
            {"ngrams": difference(*figures["evaluator"])}, difference(*figures["perplexity"]), None, figures["length"],
        )  # fmt: skip

    def test_all_goals(self, scripts):
        verdict = self.comparison(scripts).verdict("sft")
        assert verdict == (
            "adversarial: better than sft, all goals are reached (chrF +8.0% (+2.0% to +14.0%), accuracy of the fresh "
            "evaluator -7.0 (-10.0 to -4.0) points, perplexity +3.0%, length +4.0%)."
        )

    @pytest.mark.parametrize(
        ("goal", "figures"),
        [
            ("quality", (0.04, 0.02, 0.06)),
            ("quality", (0.08, -0.01, 0.17)),
            ("evaluator", (-0.04, -0.05, -0.03)),
            ("evaluator", (-0.06, -0.13, 0.01)),
            ("evaluator", (0.1, 0.05, 0.2)),
            ("perplexity", (0.06, -0.1, 0.1)),
            ("length", -0.11),
        ],
    )
    def test_a_missed_goal(self, scripts, goal, figures):
        comparison = self.comparison(scripts, **{goal: figures})
        assert [name for name, is_reached in comparison.goals().items() if not is_reached] == [goal]
        assert "Missed: " in comparison.verdict("sft")

    def test_a_null_result_is_called_one(self, scripts):
        verdict = self.comparison(scripts, quality=(0.01, -0.03, 0.05)).verdict("sft")
        assert verdict.startswith("adversarial: not shown to be better than sft. Missed: chrF +1.0%")

    def test_arms_that_cannot_be_compared(self, scripts):
        nothing = (float("nan"), float("nan"), float("nan"), 0)
        comparison = self.comparison(scripts, quality=nothing, evaluator=nothing)
        assert "not comparable" in comparison.verdict("sft")
        assert not comparison.goals()["quality"]
