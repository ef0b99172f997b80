"""The simulated rounds of the gate: spending alpha holds the rate of false promotions, and true gains are promoted."""

import numpy as np
import pytest

from gate_errors import ROUNDS, SPENDING, draw_candidates, simulate_canary, simulate_rounds

pytestmark = pytest.mark.costly
GATE = "k^-1.6 (the gate)"


def test_without_changes_the_gate_promotes_nothing_that_a_fixed_level_often_does():
    rng = np.random.default_rng(0)
    runs = [draw_candidates(rng, 0.9) for _ in range(20)]
    promoted = {name: sum(bool(simulate_rounds(run, SPENDING[name])) for run in runs) for name in (GATE, "5 % each")}
    assert promoted[GATE] <= 2
    assert promoted["5 % each"] >= 6


def test_a_true_gain_is_promoted():
    scores = draw_candidates(np.random.default_rng(1), 0.9)
    promotions = simulate_rounds(scores, SPENDING[GATE], gain=0.5, first_gain=10)
    assert 10 <= promotions[-1] < ROUNDS


def test_a_canary_that_fails_much_more_often_is_called_worse():
    assert simulate_canary(np.random.default_rng(2), 0.5, 0.1, 0.5) < 200
