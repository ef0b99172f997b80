"""Dropout drops the given share of the values, independently, and scales the others."""

import pytest
import torch

from turnwise.models.dropout import Dropout, dropout


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_are_dropped_or_scaled(probability, dtype):
    dropped = dropout(torch.full((401, 123), 3.0, dtype=dtype), probability)
    assert dropped.dtype == dtype
    is_kept = dropped != 0
    expected = torch.full_like(dropped[is_kept], 3 / (1 - probability))
    torch.testing.assert_close(dropped[is_kept], expected, rtol=1e-2 if dtype == torch.bfloat16 else 2e-4, atol=0)
    assert (~is_kept).float().mean().item() == pytest.approx(probability, abs=0.01)  # 4 standard deviations


def test_neighbouring_values_are_dropped_independently():
    is_kept = dropout(torch.ones(40_000), 0.5).view(-1, 4) > 0  # four values share a random number
    torch.testing.assert_close(is_kept.float().mean(0), torch.full((4,), 0.5), rtol=0, atol=0.03)
    correlations = torch.corrcoef(is_kept.T.float()) - torch.eye(4)
    assert correlations.abs().max() < 0.05
    assert torch.corrcoef(torch.stack([is_kept[:-1, 3], is_kept[1:, 0]]).float())[0, 1].abs() < 0.05


def test_the_gradient_is_dropped_with_the_value():
    x = torch.ones(7, 5, requires_grad=True)
    dropped = dropout(x, 0.5)
    dropped.sum().backward()
    assert torch.equal(x.grad, dropped.detach())


def test_the_seed_determines_what_is_dropped():
    first = dropout(torch.ones(1000), 0.3)
    second = dropout(torch.ones(1000), 0.3)
    torch.manual_seed(0)
    assert torch.equal(dropout(torch.ones(1000), 0.3), first)
    assert not torch.equal(first, second)


def test_probability_zero_and_evaluation_change_nothing():
    x = torch.randn(9)
    assert torch.equal(dropout(x, 0.0), x)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert not torch.equal(Dropout(0.5)(x), x)


def test_a_probability_close_to_one_keeps_values_finite():
    assert dropout(torch.ones(1000), 1 - 1e-9).isfinite().all()
