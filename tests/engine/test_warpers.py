"""The contract of a warper, for every file in engine/sampling/warpers/, against simple numpy references."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from turnwise.core.parameters import PARAMETER_SPECS
from turnwise.engine.sampling import warpers as folder
from turnwise.engine.sampling.warpers import load_warpers

pytestmark = pytest.mark.usefixtures("one_thread")


def probabilities(logits):
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def temperature(logits, value):
    return logits / value


def top_k(logits, value):
    """Remove tokens below the k-th largest logit."""
    if value == 0 or value >= len(logits):
        return logits
    kth = sorted(logits, reverse=True)[value - 1]
    return np.array([logit if logit >= kth else -np.inf for logit in logits])


def top_p(logits, value):
    """Keep the most likely tokens until their probabilities sum to p."""
    if value == 1:
        return logits
    probability = probabilities(logits)
    selected, total = [], 0.0
    for token in np.argsort(-logits, kind="stable"):
        if selected and total >= value:
            break
        selected.append(token)
        total += probability[token]
    return np.array([logit if token in selected else -np.inf for token, logit in enumerate(logits)])


def min_p(logits, value):
    """Remove tokens less likely than p times the most likely one."""
    probability = probabilities(logits)
    return np.where(probability >= value * probability.max(), logits, -np.inf)


def typical_p(logits, value):
    """Keep the tokens whose surprisal is nearest the entropy until their probabilities sum to p."""
    if value == 1:
        return logits
    probability = probabilities(logits)
    possible = probability > 0
    surprise = np.where(possible, -np.log(np.where(possible, probability, 1)), np.inf)
    entropy = (probability[possible] * surprise[possible]).sum()
    selected, total = [], 0.0
    for token in np.argsort(np.abs(surprise - entropy).round(5), kind="stable"):
        if selected and total >= value:
            break
        selected.append(token)
        total += probability[token]
    return np.array([logit if token in selected else -np.inf for token, logit in enumerate(logits)])


def epsilon_cutoff(logits, value):
    """Remove tokens less likely than ε, but never the most likely one."""
    probability = probabilities(logits)
    return np.where((probability >= value) | (logits == logits.max()), logits, -np.inf)


def eta_cutoff(logits, value):
    """`epsilon_cutoff` with the smaller of ε and √ε · exp(−entropy)."""
    probability = probabilities(logits)
    possible = probability[probability > 0]
    entropy = -(possible * np.log(possible)).sum()
    return epsilon_cutoff(logits, min(value, np.sqrt(value) * np.exp(-entropy)))


def top_n_sigma(logits, value):
    """Remove tokens more than n standard deviations of the unmasked logits below the largest."""
    if value == 0:
        return logits
    possible = [logit for logit in logits if logit > -np.inf]
    mean = sum(possible) / len(possible)
    sigma = (sum((logit - mean) ** 2 for logit in possible) / len(possible)) ** 0.5
    return np.array([logit if logit >= max(possible) - value * sigma else -np.inf for logit in logits])


REFERENCES = {
    "top_n_sigma": top_n_sigma, "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p,
    "typical_p": typical_p, "epsilon_cutoff": epsilon_cutoff, "eta_cutoff": eta_cutoff,
}  # fmt: skip
VALUES = {
    "temperature": st.floats(0.05, 2),
    "top_k": st.one_of(st.integers(0, 12), st.just(1_000_000)),
    "top_p": st.one_of(st.floats(0.01, 1), st.just(1.0)),
    "min_p": st.one_of(st.floats(0, 1), st.just(1.0)),
    "typical_p": st.one_of(st.floats(0.01, 1), st.just(1.0)),
    "epsilon_cutoff": st.floats(0, 1),
    "eta_cutoff": st.floats(0, 1),
    "top_n_sigma": st.floats(0, 4),
}


def distance_to_threshold(name, row, value):
    """Distance of the nearest probability or logit to the threshold; within rounding, either side is correct."""
    probability = probabilities(row)
    if name == "top_p":
        return np.abs(np.cumsum(np.sort(probability)[::-1]) - value).min() if value < 1 else 1
    if name == "top_n_sigma":
        possible = row[np.isfinite(row)]
        return np.abs(possible - (possible.max() - value * possible.std())).min() if value > 0 else 1
    if name == "eta_cutoff":
        possible = probability[probability > 0]
        value = min(value, np.sqrt(value) * np.exp((possible * np.log(possible)).sum()))
    return np.abs(probability - value).min() if name in ("epsilon_cutoff", "eta_cutoff") and value > 0 else 1


# Coarse values make ties; -inf stands for tokens that an earlier warper removed.
logit = st.one_of(
    st.integers(-4, 4).map(float),
    st.floats(-9, 9, width=32).map(lambda value: round(value, 3)),
    st.just(-np.inf),
)  # rounded: near ties differ in float32 and float64
rows = arrays.arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 12)), elements=logit).filter(
    lambda logits: np.isfinite(logits).any(axis=1).all()
)


def apply(name, logits, values):
    return load_warpers()[name].apply(torch.from_numpy(logits), torch.tensor(values)).numpy()


def test_every_warper_is_tested_and_has_a_unique_order():
    files = {path.stem for path in Path(folder.__file__).parent.glob("*.py")} - {"__init__"}
    assert files == REFERENCES.keys() == VALUES.keys() == load_warpers().keys()
    assert list(load_warpers()) == list(REFERENCES)
    assert len({warper.ORDER for warper in load_warpers().values()}) == len(load_warpers())


@pytest.mark.parametrize("name", REFERENCES)
@settings(max_examples=150, deadline=None)
@given(data=st.data(), logits=rows)
def test_a_warper_equals_its_reference_row_by_row(name, data, logits):
    values = data.draw(st.lists(VALUES[name], min_size=len(logits), max_size=len(logits)))
    assume(
        all(
            distance_to_threshold(name, row.astype(np.float64), v) > 1e-5 for row, v in zip(logits, values, strict=True)
        )
    )
    expected = [REFERENCES[name](row.astype(np.float64), value) for row, value in zip(logits, values, strict=True)]
    np.testing.assert_allclose(apply(name, logits, values), expected, rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize("name", REFERENCES)
@settings(max_examples=50, deadline=None)
@given(data=st.data(), logits=rows)
def test_the_neutral_value_changes_nothing_beside_other_rows(name, data, logits):
    values = data.draw(st.lists(VALUES[name], min_size=len(logits), max_size=len(logits)))
    off = data.draw(st.integers(0, len(logits) - 1))
    values[off] = PARAMETER_SPECS[name].neutral
    np.testing.assert_array_equal(apply(name, logits, values)[off], logits[off])


@pytest.mark.parametrize("name", REFERENCES)
@settings(max_examples=50, deadline=None)
@given(data=st.data(), logits=rows)
def test_rows_do_not_affect_each_other(name, data, logits):
    values = data.draw(st.lists(VALUES[name], min_size=len(logits), max_size=len(logits)))
    together = apply(name, logits, values)
    for i, value in enumerate(values):
        np.testing.assert_array_equal(together[i], apply(name, logits[i : i + 1], [value])[0])


@pytest.mark.parametrize("name", REFERENCES)
@settings(max_examples=50, deadline=None)
@given(data=st.data(), logits=rows)
def test_a_warper_modifies_no_input_and_never_masks_a_full_row(name, data, logits):
    values = data.draw(st.lists(VALUES[name], min_size=len(logits), max_size=len(logits)))
    before = logits.copy()
    shaped = apply(name, logits, values)
    np.testing.assert_array_equal(logits, before)
    assert np.isfinite(shaped).any(axis=1).all()
    assert not np.isfinite(shaped[~np.isfinite(logits)]).any()  # masked tokens stay masked


def test_top_k_keeps_ties_with_the_kth_logit():
    np.testing.assert_array_equal(
        apply("top_k", np.float32([[3, 1, 2, 2, 0]]), [2]), np.float32([[3, -np.inf, 2, 2, -np.inf]])
    )


@pytest.mark.parametrize(
    ("p", "selected"), [(0.01, 1), (0.5, 1), (0.51, 2), (0.75, 2), (0.76, 3), (0.875, 3), (0.88, 4), (1.0, 5)]
)
def test_the_nucleus_is_the_smallest_set_that_reaches_p(p, selected):
    logits = np.log(np.float32([[1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 16]]))
    assert np.isfinite(apply("top_p", logits, [p])).sum() == selected


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.mark.parametrize(("name", "value"), [("typical_p", 0.5), ("eta_cutoff", 1e-4), ("top_n_sigma", 3.0)])
@pytest.mark.costly
def test_a_row_is_bit_identical_alone_and_in_a_batch_with_several_threads(two_threads, name, value):
    logits = np.random.default_rng(0).normal(size=(3, 151_936)).astype(np.float32)
    together = apply(name, logits, [value] * 3)
    for row in range(3):
        np.testing.assert_array_equal(together[row], apply(name, logits[row : row + 1], [value])[0])


def test_cutoffs_always_keep_the_most_likely_tokens_including_ties():
    for name in ("epsilon_cutoff", "eta_cutoff"):
        np.testing.assert_array_equal(np.isfinite(apply(name, np.float32([[0, 1, 1, -9]]), [1.0])), [[0, 1, 1, 0]])


def test_the_eta_cutoff_falls_with_the_entropy():
    """100 tokens of about 1 %: ε = 2 % keeps only the most likely one, η = √0.02 · 1 % keeps all."""
    logits = np.float32([[0.01] + [0] * 99])
    assert np.isfinite(apply("epsilon_cutoff", logits, [0.02])).sum() == 1
    assert np.isfinite(apply("eta_cutoff", logits, [0.02])).sum() == 100


@pytest.mark.parametrize("temperature", [0.1, 0.7, 1.3, 2.0])
def test_top_n_sigma_is_independent_of_the_temperature(temperature):
    logits = np.random.default_rng(1).normal(size=(4, 500)).astype(np.float32)
    selected = np.isfinite(apply("top_n_sigma", logits, [1.5] * 4))
    first, second = list(load_warpers())[:2]
    assert (first, second) == ("top_n_sigma", "temperature"), "it sees the logits before the temperature"
    heated = apply("temperature", logits, [temperature] * 4)  # the other order gives the same tokens
    np.testing.assert_array_equal(np.isfinite(apply("top_n_sigma", heated, [1.5] * 4)), selected)


def test_masked_tokens_do_not_count_in_sigma():
    masked = np.float32([[4, -np.inf, 2, 0, -np.inf]])
    for n in (0.1, 1.0, 1.3, 2.0, 3.0):
        np.testing.assert_array_equal(
            apply("top_n_sigma", masked, [n])[:, [0, 2, 3]], apply("top_n_sigma", masked[:, [0, 2, 3]], [n])
        )
