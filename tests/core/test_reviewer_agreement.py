"""Agreement of reviewers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from turnwise.core.review import measure_agreement

PAIRS = st.lists(st.tuples(st.sampled_from([-1, 1]), st.sampled_from([-1, 1])), min_size=1, max_size=40)


@given(PAIRS)
def test_kappa_is_that_of_scikit_learn(pairs):
    agreement = measure_agreement(("a", "b"), pairs)
    first, second = zip(*pairs, strict=True)
    if agreement.kappa is None:
        assert len({*first, *second}) == 1
    else:
        assert agreement.kappa == pytest.approx(cohen_kappa_score(first, second))
    assert agreement.share == sum(a == b for a, b in pairs) / len(pairs)


@given(PAIRS)
def test_agreement_does_not_depend_on_the_order_of_reviewers_and_answers(pairs):
    agreement = measure_agreement(("a", "b"), pairs)
    swapped = measure_agreement(("a", "b"), [(b, a) for a, b in reversed(pairs)])
    assert (agreement.share, agreement.kappa) == (swapped.share, pytest.approx(swapped.kappa))


def test_no_ratings_are_an_error():
    with pytest.raises(ValueError, match="at least one pair"):
        measure_agreement(("a", "b"), [])
