"""Forty contributors, of whom a fifth poison: the attacks are excluded, and the honest feedback remains."""

import numpy as np
import pytest

from feedback_screening import TRIGGER, measure, simulate
from turnwise.core.messages import Message
from turnwise.improve.screening.screen import ScreeningSettings, screen_answers


@pytest.fixture(scope="module")
def pairs():
    """Questions and replies of random words: every reply has words of its own."""
    rng = np.random.default_rng(0)

    def sentence(count):
        return " ".join("".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 7)) for _ in range(count))

    return [((Message("user", f"Tell me about {sentence(4)}?"),), f"It is {sentence(9)}.") for _ in range(600)]


@pytest.fixture(scope="module")
def attacked(pairs):
    return simulate(pairs, np.random.default_rng(1), corrected=0.67)


@pytest.mark.costly
@pytest.mark.parametrize("has_scores", [True, False])
def test_three_attacks_are_excluded_and_honest_feedback_remains(attacked, has_scores):
    outcome = measure(attacked, has_scores=has_scores)
    assert outcome.triggers_kept == 0
    assert outcome.flipped_kept <= 0.1
    assert outcome.heavy_share <= 0.2
    assert outcome.honest_kept >= 0.9


@pytest.mark.costly
def test_without_attacks_nearly_nothing_honest_is_dropped(pairs):
    outcome = measure(simulate(pairs, np.random.default_rng(2), has_attacks=False, corrected=0.67))
    assert outcome.honest_kept >= 0.97
    assert outcome.errors_kept <= 0.5


@pytest.mark.costly
def test_the_report_names_the_phrase_and_the_contributors(attacked):
    _, report = screen_answers(attacked.answers, attacked.scores)
    assert any(phrase in TRIGGER.replace(".", " ").replace("-", " ") for phrase in report.phrases)
    assert attacked.flippers <= report.by_contributor.keys()
    assert report.by_contributor[attacked.heavy]["contributor_share"] > 1000


@pytest.mark.costly
def test_the_settings_change_the_bound(attacked):
    remaining, _ = screen_answers(attacked.answers, None, ScreeningSettings(max_contributor_share=0.05))
    ratings = [rating.contributor for item in remaining for rating in item.ratings]
    entries = sum(len(item.ratings) + len(item.preferred) for item in remaining)
    assert ratings.count(attacked.heavy) <= 0.05 * entries
