"""Several variants of a prompt against the first one are one family of tests."""

from turnwise.app.prompts.comparison import sentences
from turnwise.evaluation.scorecard import Scorecard, ScorecardRow, correct_together
from turnwise.evaluation.statistics import ConfidenceInterval


def card(p_value, difference=0.2):
    """The scorecard of one variant, with one metric."""
    row = ScorecardRow(
        name="golden", label="golden set", description="", better="higher", counts_for_verdict=True, one_sided=False,
        value_format=".1%", num_dialogues=50, value=0.7, interval=ConfidenceInterval(0.6, 0.8), values_by_seed=(0.7,),
        base_value=0.7 - difference, base_interval=ConfidenceInterval(0.4, 0.6), difference=difference,
        difference_interval=ConfidenceInterval(0.1, 0.3), p_value=p_value, adjusted_p_value=p_value, verdict="better",
    )  # fmt: skip
    return Scorecard("better", (), (row,))


def verdicts(*cards):
    return [corrected.verdict for corrected in correct_together(cards)]


def test_one_variant_is_judged_as_in_its_scorecard():
    assert verdicts(card(0.03)) == ["better"]
    assert verdicts(card(0.03, -0.2)) == ["worse"]


def test_a_small_difference_of_one_of_several_variants_may_be_chance():
    assert verdicts(card(0.03), card(0.5), card(0.6)) == ["no difference"] * 3


def test_a_clear_difference_stays_one():
    assert verdicts(card(0.001), card(0.5), card(0.001, -0.2)) == ["better", "no difference", "worse"]


def test_the_corrected_p_value_is_shown():
    (first, *_) = correct_together([card(0.01), card(0.5), card(0.6)])
    assert abs(first.rows[0].adjusted_p_value - 0.03) < 1e-12


def test_no_difference_is_said_in_words():
    cards = dict(zip(["a@2", "a@3", "a@4"], correct_together([card(0.5), card(0.001), card(0.6)]), strict=True))
    assert list(sentences(cards, "a@1")) == [
        "a@2 and a@1: no difference.",
        "a@3 is better than a@1.",
        "a@4 and a@1: no difference.",
    ]
