"""The levels of all candidates until a promotion add up to alpha."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.core.errors import InvalidParameter
from turnwise.evaluation.alpha_spending import spent_alpha


@given(st.floats(0.001, 0.5), st.integers(1, 2000))
def test_the_levels_fall_and_add_up_to_at_most_alpha(alpha, cycles):
    levels = [spent_alpha(cycle, alpha) for cycle in range(1, cycles + 1)]
    assert sum(levels) < alpha
    assert levels == sorted(levels, reverse=True)


def test_nearly_all_of_alpha_is_spent_in_the_end():
    assert sum(spent_alpha(cycle, 0.05) for cycle in range(1, 20_000)) > 0.049


@pytest.mark.parametrize(("cycle", "alpha"), [(0, 0.05), (1, 0.0), (1, 1.0)])
def test_impossible_cycles_and_levels_are_rejected(cycle, alpha):
    with pytest.raises(InvalidParameter):
        spent_alpha(cycle, alpha)
