"""Multinomial sampling: the exact distribution, and never a masked token."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_warpers import REFERENCES, probabilities

from turnwise.core.parameters import GenerationParams
from turnwise.engine.sampling.multinomial import SamplerState, sample_tokens

pytestmark = pytest.mark.usefixtures("one_thread")

LOGITS = [2.0, 1.5, 1.5, 0.0, -1.0, -torch.inf, -3.0]
DRAWS = 20_000
# Quantiles of the chi-square distribution at 1 - 1e-6, by degrees of freedom.
CRITICAL = {1: 23.9, 2: 27.6, 3: 30.7, 4: 33.4, 5: 35.9}


class FixedRandom:
    """A random generator with a fixed value."""

    def __init__(self, value):
        self.random = lambda: value


def drawn_at(value, logits, **params):
    return sample_tokens(torch.tensor([logits]), [SamplerState(GenerationParams(**params), FixedRandom(value))])[0]


@pytest.mark.parametrize(
    "params",
    [{}, {"temperature": 0.5}, {"temperature": 2.0}, {"top_k": 2}, {"top_p": 0.6},
     {"temperature": 1.7, "top_k": 4, "top_p": 0.9}],
)  # fmt: skip
@pytest.mark.costly
def test_token_frequencies_match_the_exact_distribution(params):
    exact = np.array(LOGITS)
    for name, reference in REFERENCES.items():  # temperature, then top-k, then top-p
        if name in params:
            exact = reference(exact, params[name])
    exact = probabilities(exact)
    draw = SamplerState.from_params(GenerationParams(seed=11, **params))
    tokens = sample_tokens(torch.tensor([LOGITS]).expand(DRAWS, -1), [draw] * DRAWS)
    counts = np.bincount(tokens, minlength=len(LOGITS))
    possible = exact > 0
    assert not counts[~possible].any()
    expected = exact[possible] * DRAWS
    chi_square = ((counts[possible] - expected) ** 2 / expected).sum()
    assert chi_square < CRITICAL[possible.sum() - 1]


def test_each_row_is_sampled_with_its_own_parameters():
    draws = [
        SamplerState.from_params(GenerationParams(temperature=0)),
        SamplerState.from_params(GenerationParams(top_k=1, seed=1)),
        SamplerState.from_params(GenerationParams(seed=1)),
        SamplerState.from_params(GenerationParams(top_p=1e-6)),
    ]
    logits = torch.tensor([[0.0, 5, 1], [7, 0, 0], [-torch.inf, -torch.inf, 0], [1, 1, 2]])
    assert sample_tokens(logits, draws) == [1, 0, 2, 2]


def test_greedy_sampling_takes_the_first_of_equal_logits():
    assert drawn_at(0.9, [1.0, 3.0, 3.0], temperature=0) == 1


@pytest.mark.parametrize("temperature", [5e-324, 1e-50, 1e-38, 1e-9, 1e-4])
def test_a_tiny_temperature_is_greedy(temperature):
    for value in (0.0, 0.5, 1 - 2**-53):
        assert drawn_at(value, [30.0, 31.0, -40.0], temperature=temperature) == 1


ALMOST_ONE = 1 - 2**-53  # the largest number that random() gives


@settings(max_examples=200, deadline=None)
@given(
    logits=st.lists(st.one_of(st.floats(-80, 80, width=32), st.just(-np.inf)), min_size=1, max_size=30).filter(
        lambda row: max(row) > -np.inf
    ),
    value=st.one_of(st.sampled_from([0.0, 5e-324, 0.5, 1 - 2**-30, ALMOST_ONE]), st.floats(0, ALMOST_ONE)),
    params=st.sampled_from([{}, {"top_k": 3}, {"top_p": 0.5}, {"temperature": 0.01}, {"temperature": 2.0}]),
)
def test_a_masked_token_is_never_sampled_for_any_random_number(logits, value, params):
    token = drawn_at(value, logits, **params)
    assert logits[token] > -np.inf
    if "top_k" in params:
        assert logits[token] >= sorted(logits, reverse=True)[:3][-1]


def test_the_lowest_and_highest_random_numbers_sample_the_first_and_last_allowed_token():
    logits = [-torch.inf, 1.0, 0.0, 2.0, -torch.inf]
    assert (drawn_at(0.0, logits), drawn_at(ALMOST_ONE, logits)) == (1, 3)


def test_half_precision_logits_are_sampled_in_full_precision():
    logits = torch.zeros(1, 1000, dtype=torch.bfloat16)
    picked = {
        sample_tokens(logits, [SamplerState(GenerationParams(), FixedRandom((i + 0.5) / 1000))])[0] for i in range(1000)
    }
    assert picked == set(range(1000))


def test_tokens_in_a_long_tail_can_be_sampled():
    tail = [drawn_at(1 - fraction * 1.523e-5, [0.0] + [-18.0] * 1000) for fraction in (0.25, 0.5, 0.75)]
    assert tail == pytest.approx([750, 500, 250], abs=3)
