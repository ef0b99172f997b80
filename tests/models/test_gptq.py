"""Quantization to block formats: grids fit exact weights, and calibration lowers the error of the outputs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.core.errors import UserError
from turnwise.models.block_quantization import quantize_matrix
from turnwise.models.calibration import MATRICES, quantize_layers
from turnwise.models.checkpoint import create
from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.decoder_weights import ModuleWeights
from turnwise.models.gptq import gptq_matrix

FORMATS = ("Q8_0", "Q4_0", "Q4_1")
STEPS = {"Q8_0": 254, "Q4_0": 14, "Q4_1": 15}  # of the range of a group, at least


def random_matrix(outputs=12, inputs=96, seed=0):
    return torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(seed))


def correlated_inputs(count=600, inputs=96, seed=1):
    """Inputs in which few directions have most of the variance, as in a trained model."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(8, inputs, generator=generator)
    return torch.randn(count, 8, generator=generator) @ directions + 0.1 * torch.randn(
        count, inputs, generator=generator
    )


def dequantized(blocks):
    return torch.from_numpy(blocks.dequantize())


@pytest.mark.parametrize("block_format", FORMATS)
def test_weights_are_within_a_step_of_their_rounded_values(block_format):
    weight = random_matrix()
    blocks = quantize_matrix(weight, block_format)
    assert (blocks.format, blocks.outputs, blocks.inputs) == (block_format, 12, 96)
    groups = weight.view(12, 3, 32)
    ranges = groups.amax(-1) - groups.amin(-1) if block_format == "Q4_1" else 2 * groups.abs().amax(-1)
    errors = (dequantized(blocks) - weight).view(12, 3, 32).abs()
    assert (errors <= ranges[..., None] / STEPS[block_format]).all()


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(FORMATS), st.integers(0, 1000))
def test_weights_that_a_format_can_hold_keep_their_values(block_format, seed):
    """A second rounding to the same format loses nothing."""
    first = dequantized(quantize_matrix(random_matrix(seed=seed), block_format))
    second = dequantized(quantize_matrix(first, block_format))
    torch.testing.assert_close(second, first, rtol=2e-3, atol=2e-3 * float(first.abs().max()))


@pytest.mark.parametrize("block_format", FORMATS)
def test_groups_of_equal_weights_are_exact_to_float16(block_format):
    for value in (0.0, 0.37, -2.5):
        rounded = dequantized(quantize_matrix(torch.full((2, 64), value), block_format))
        torch.testing.assert_close(rounded, torch.full((2, 64), value), rtol=5e-3, atol=0)


@pytest.mark.parametrize("block_format", ["Q4_0", "Q4_1"])
def test_calibration_lowers_the_error_of_the_outputs(block_format):
    weight, inputs = random_matrix(40, 160), correlated_inputs(inputs=160)
    expected = inputs @ weight.T
    nearest = inputs @ dequantized(quantize_matrix(weight, block_format)).T
    calibrated = inputs @ dequantized(gptq_matrix(weight, inputs.T @ inputs, block_format)).T
    assert (calibrated - expected).norm() < 0.5 * (nearest - expected).norm()


def test_inputs_that_are_always_zero_do_no_harm():
    inputs = correlated_inputs()
    inputs[:, 10:50] = 0
    weight = random_matrix()
    blocks = gptq_matrix(weight, inputs.T @ inputs, "Q4_1")
    assert np.isfinite(blocks.dequantize()).all()
    for hessian in (torch.zeros(96, 96), inputs[:1].T @ inputs[:1]):
        assert np.isfinite(gptq_matrix(weight, hessian, "Q4_0").dequantize()).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_and_inputs_that_are_not_finite_are_refused(value):
    weight, hessian = random_matrix(), torch.eye(96)
    weight[3, 5] = value
    for quantize in (lambda: quantize_matrix(weight, "Q4_1"), lambda: gptq_matrix(weight, hessian, "Q4_1")):
        with pytest.raises(UserError, match="The matrix has weights that are not finite numbers"):
            quantize()
    hessian[7, 7] = value
    with pytest.raises(UserError, match="inputs that are not finite numbers"):
        gptq_matrix(random_matrix(), hessian, "Q4_1")


def test_a_hessian_that_cannot_be_inverted_ends_with_an_error():
    """A matrix with a large negative eigenvalue is not a sum of x xᵀ, and no damping of its mean helps."""
    hessian = torch.eye(96)
    hessian[0, 1] = hessian[1, 0] = 1e6
    with pytest.raises(UserError, match="Hessian cannot be inverted"):
        gptq_matrix(random_matrix(), hessian, "Q4_0")


def test_damping_is_raised_until_both_factorizations_succeed():
    hessian = torch.eye(96)
    hessian[0, 1] = hessian[1, 0] = 1.5  # the smallest eigenvalue is -0.5
    assert np.isfinite(gptq_matrix(random_matrix(), hessian, "Q4_0").dequantize()).all()


def test_an_error_names_the_matrix():
    weights = make_weights()
    weights.tensor("layers.1.mlp.down.weight")[0, 0] = float("nan")
    for ids in (None, torch.randint(0, 60, (2, 16))):
        with pytest.raises(UserError, match=r"layers\.1\.mlp\.down\.weight has weights that are not finite"):
            list(quantize_layers(weights, ids, dict.fromkeys(NAMES, "Q4_0")))


def test_a_matrix_is_not_changed_by_quantizing_it():
    weight = random_matrix()
    before = weight.clone()
    gptq_matrix(weight, torch.eye(96), "Q4_0")
    quantize_matrix(weight, "Q4_0")
    assert torch.equal(weight, before)


def make_weights(**changes):
    sizes = {"vocab_size": 60, "hidden_size": 64, "intermediate_size": 96, "num_layers": 2, "num_heads": 2}
    config = DecoderConfig(
        **({"family": "llama", "num_kv_heads": 1, "head_dim": 32, "context_length": 64} | sizes | changes),
        initializer_range=0.2,
    )
    return ModuleWeights(create(config, seed=3).decoder)


NAMES = [f"layers.{layer}.{matrix}.weight" for layer in range(2) for matrix in MATRICES]
VARIANTS = {
    "llama": {},
    "biases": {"qkv_bias": True, "out_bias": True},
    "window": {"sliding_window": 5, "windowed_layers": frozenset({1})},
    "gpt2": {"norm": "layer", "positions": "learned", "gated_mlp": False, "activation": "gelu_tanh", "num_kv_heads": 2},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_decoder_quantized_with_calibration_is_closer_to_the_original(variant):
    weights = make_weights(**VARIANTS[variant])
    ids = torch.randint(0, 60, (12, 40), generator=torch.Generator().manual_seed(0))
    model = weights.decoder()
    errors = {}
    with torch.inference_mode():
        expected = model.logits(model(ids))
    for kind, calibration in (("nearest", None), ("calibrated", ids)):
        rounded = make_weights(**VARIANTS[variant]).decoder()
        blocks = dict(quantize_layers(weights, calibration, dict.fromkeys(NAMES, "Q4_0")))
        assert list(blocks) == NAMES
        with torch.inference_mode():
            for name in NAMES:
                rounded.get_parameter(name).copy_(dequantized(blocks[name]))
            errors[kind] = float((rounded.logits(rounded(ids)) - expected).norm())
    assert errors["calibrated"] < 0.9 * errors["nearest"]


def test_the_decoder_that_is_quantized_keeps_its_weights():
    weights = make_weights()
    before = {name: weights.tensor(name).clone() for name in weights.shapes}
    ids = torch.randint(0, 60, (2, 16), generator=torch.Generator().manual_seed(0))
    assert [name for name, _ in quantize_layers(weights, ids, dict.fromkeys(NAMES, "Q4_0"))] == NAMES
    assert all(torch.equal(weights.tensor(name), before[name]) for name in before)


def test_matrices_without_a_format_are_left_out():
    weights = make_weights()
    formats = {name: "Q8_0" if "mlp" in name else None for name in weights.shapes}
    for ids in (None, torch.randint(0, 60, (2, 16))):
        assert [name for name, _ in quantize_layers(weights, ids, formats)] == [
            f"layers.{layer}.mlp.{matrix}.weight" for layer in range(2) for matrix in ("up", "down")
        ]
