"""Quantized weights: accuracy, exact integer products, bit-identical rows, and where they are rejected."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import make_decoder
from test_native import ODD, check_alone_and_in_company, prompts, sequences_of, with_random_biases

from turnwise.core.errors import InvalidParameter
from turnwise.engine.engine import Engine
from turnwise.engine.native import native_runner as runner_file
from turnwise.engine.native import packed_model as weights_file
from turnwise.engine.native.library import libraries, library
from turnwise.engine.runners.model_runner import make_runner
from turnwise.engine.runners.torch_runner import TorchRunner
from turnwise.models.quantization import quantize_weight

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(library() is None, reason="no compiled library"),
]

GROUP = 32
BITS = {"int8": 8, "int4": 4}


def dequantized(weight, bits):
    """The weights after quantization and dequantization."""
    outputs, inputs = weight.shape
    padded = torch.nn.functional.pad(weight, (0, -inputs % GROUP))
    quantized, scales = quantize_weight(padded, bits, GROUP)
    centred = quantized.float() - 2 ** (bits - 1)
    return (centred.view(outputs, scales.shape[1], -1) * scales[..., None]).view(outputs, -1)[:, :inputs]


def quantize_rows(x):
    """Activations as the library quantizes them: integers from -127 to 127, one scale per group of inputs."""
    padded = np.pad(x, ((0, 0), (0, -x.shape[1] % GROUP))).reshape(len(x), -1, GROUP)
    max_magnitude = np.abs(padded).max(-1, keepdims=True)
    factor = np.divide(np.float32(127), max_magnitude, out=np.zeros_like(max_magnitude), where=max_magnitude > 0)
    return np.rint(padded * factor).astype(np.int64), (max_magnitude / np.float32(127))[..., 0]


def quantized_matmul(x, weight, bits):
    """Reference of `x @ weight.T`: exact integer sums of groups, times both scales."""
    padded = torch.nn.functional.pad(weight, (0, -weight.shape[1] % GROUP))
    quantized, scales = quantize_weight(padded, bits, GROUP)
    centred = (quantized.numpy().astype(np.int64) - 2 ** (bits - 1)).reshape(len(weight), -1, GROUP)
    rows, row_scales = quantize_rows(x)
    sums = np.einsum("rgi,ogi->rog", rows, centred)
    return (sums * row_scales[:, None].astype(np.float64) * scales.numpy()[None]).sum(-1)


@pytest.mark.parametrize("inputs", [1, 31, 32, 33, 100])
def test_8_bit_weights_are_within_half_a_quantization_step(inputs):
    weight = torch.randn(7, inputs, generator=torch.Generator().manual_seed(inputs))
    weight[3] = 0
    quantized, scales = quantize_weight(weight, 8, inputs)
    centred = quantized.float() - 128
    assert quantized.shape == weight.shape
    assert scales.shape == (7, 1)
    assert centred.abs().max() <= 127
    assert ((centred * scales - weight).abs() <= scales / 2 * 1.0001).all()


def test_4_bit_scales_are_per_group_and_exact_in_float16():
    weight = torch.randn(5, 96, generator=torch.Generator().manual_seed(1)) * torch.logspace(-3, 3, 96)
    weight[2, 32:64] = 0
    quantized, scales = quantize_weight(weight, 4, GROUP)
    assert scales.shape == (5, 3)
    assert torch.equal(scales.half().float(), scales)
    assert quantized.max() <= 15
    actual = (quantized.float() - 8).view(5, 3, GROUP) * scales[..., None]
    assert ((actual - weight.view(5, 3, GROUP)).abs() <= scales.abs()[..., None] * 1.01).all()
    assert not actual[2, 1].any()


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("native", libraries(), ids=lambda native: native.turnwise_instruction_set().decode())
@pytest.mark.parametrize("hidden", [16, 32, 48, 160])
def test_the_quantized_lm_head_equals_the_integer_reference(native, bits, hidden, monkeypatch):
    """Hidden states in, logits out."""
    monkeypatch.setattr(runner_file, "library", lambda *sizes: native)
    monkeypatch.setattr(weights_file, "HEAD_FORMAT", weights_file.QUANTIZED_FORMATS[f"int{bits}"])
    model = with_random_biases(make_decoder(hidden_size=hidden, initializer_range=0.2))
    (prompt,) = prompts([15])
    hidden_RC = sequences_of(model, 1, quantize="int4").forward([0], [prompt], num_outputs=15, return_hidden=True)
    hidden_states = hidden_RC.numpy()
    sequences = sequences_of(model, 1, quantize="int4")
    logits = sequences.forward([0], [prompt], num_outputs=15).numpy()
    assert np.array_equal(sequences.runner.logits(hidden_RC).numpy(), logits)
    expected = quantized_matmul(hidden_states, model.get_parameter("head.weight").detach(), bits)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("quantize", BITS)
@pytest.mark.parametrize("name", ODD)
def test_logits_equal_those_of_dequantized_weights_up_to_activation_quantization(name, quantize):
    model = with_random_biases(make_decoder(context=80, initializer_range=0.2, **ODD[name]))
    prompt_ids = prompts([50, 1, 18])
    actual = sequences_of(model, 3, quantize=quantize).forward([2, 0, 1], prompt_ids)
    with torch.no_grad():
        for module in model.layers.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.copy_(dequantized(module.weight, BITS[quantize]))
        head = model.embed.weight if model.head is None else model.head.weight
        head = dequantized(head, 8)  # the embedding is not quantized, tied or not
        hidden = torch.stack([model(torch.tensor([ids]))[0, -1] for ids in prompt_ids])
    expected = hidden @ head.T
    assert (actual - expected).norm() < 0.1 * expected.norm()


MODEL = with_random_biases(make_decoder(context=120, intermediate_size=67, initializer_range=0.2))


@settings(max_examples=20, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 70), min_size=1, max_size=20),
    threads=st.integers(1, 3),
    chunk=st.integers(1, 90),
    quantize=st.sampled_from(list(BITS)),
    data=st.data(),
)
def test_outputs_are_bit_identical_alone_and_in_a_batch(lengths, threads, chunk, quantize, data):
    order = data.draw(st.permutations(range(len(lengths))))
    check_alone_and_in_company(MODEL, lengths, order, threads, chunk, quantize)


def test_quantization_is_rejected_without_the_compiled_library(monkeypatch):
    with pytest.raises(InvalidParameter, match="hidden size 34"):
        make_runner(make_decoder(hidden_size=34), 1, "int8")
    with pytest.raises(InvalidParameter, match="on CPUs only"):
        make_runner(make_decoder().to("meta"), 1, "int8")
    monkeypatch.setattr("turnwise.engine.native.library.libraries", lambda: ())
    with pytest.raises(InvalidParameter, match=r"a C\+\+ compiler"):
        make_runner(make_decoder(), 1, "int4")
    assert isinstance(make_runner(make_decoder(), 1), TorchRunner)


def test_the_kind_of_an_engine_includes_its_quantization():
    kinds = set()
    for quantize in (None, "int8", "int4"):
        engine = Engine(make_decoder(), max_num_seqs=1, quantize=quantize)
        kinds.add(engine.kind)
        engine.close()
    assert len(kinds) == 3
