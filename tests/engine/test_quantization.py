"""Quantized weights: what is computed with them, how near they come, and where they are refused."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import make
from test_native import ODD, biased, check_alone_and_in_company, lines_of, prompts

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
    """The weights that whole numbers and scales stand for."""
    outputs, inputs = weight.shape
    padded = torch.nn.functional.pad(weight, (0, -inputs % GROUP))
    whole, scales = quantize_weight(padded, bits, GROUP)
    numbers = whole.float() - 2 ** (bits - 1)
    return (numbers.view(outputs, scales.shape[1], -1) * scales[..., None]).view(outputs, -1)[:, :inputs]


def whole_rows(x):
    """Rows as the library takes them: whole numbers from -127 to 127, a scale for every group of inputs."""
    padded = np.pad(x, ((0, 0), (0, -x.shape[1] % GROUP))).reshape(len(x), -1, GROUP)
    top = np.abs(padded).max(-1, keepdims=True)
    factor = np.divide(np.float32(127), top, out=np.zeros_like(top), where=top > 0)
    return np.rint(padded * factor).astype(np.int64), (top / np.float32(127))[..., 0]


def product(x, weight, bits):
    """`x @ weight.T` as the obvious reference has it: exact whole sums of groups, times both scales."""
    padded = torch.nn.functional.pad(weight, (0, -weight.shape[1] % GROUP))
    whole, scales = quantize_weight(padded, bits, GROUP)
    numbers = (whole.numpy().astype(np.int64) - 2 ** (bits - 1)).reshape(len(weight), -1, GROUP)
    rows, row_scales = whole_rows(x)
    sums = np.einsum("rgi,ogi->rog", rows, numbers)
    return (sums * row_scales[:, None].astype(np.float64) * scales.numpy()[None]).sum(-1)


@pytest.mark.parametrize("inputs", [1, 31, 32, 33, 100])
def test_eight_bits_are_within_half_a_step_of_every_weight(inputs):
    weight = torch.randn(7, inputs, generator=torch.Generator().manual_seed(inputs))
    weight[3] = 0
    whole, scales = quantize_weight(weight, 8, inputs)
    numbers = whole.float() - 128
    assert whole.shape == weight.shape
    assert scales.shape == (7, 1)
    assert numbers.abs().max() <= 127
    assert ((numbers * scales - weight).abs() <= scales / 2 * 1.0001).all()


def test_four_bits_have_a_scale_for_every_group_that_bfloat16_holds():
    weight = torch.randn(5, 96, generator=torch.Generator().manual_seed(1)) * torch.logspace(-3, 3, 96)
    weight[2, 32:64] = 0
    whole, scales = quantize_weight(weight, 4, GROUP)
    assert scales.shape == (5, 3)
    assert torch.equal(scales.bfloat16().float(), scales)
    assert whole.max() <= 15
    found = (whole.float() - 8).view(5, 3, GROUP) * scales[..., None]
    assert ((found - weight.view(5, 3, GROUP)).abs() <= scales.abs()[..., None] * 1.01).all()
    assert not found[2, 1].any()


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("found", libraries(), ids=lambda found: found.turnwise_arithmetic().decode())
@pytest.mark.parametrize("hidden", [16, 32, 48, 160])
def test_products_are_those_of_whole_numbers(found, bits, hidden, monkeypatch):
    """The head's: hidden states go in, logits come out."""
    monkeypatch.setattr(runner_file, "library", lambda *sizes: found)
    monkeypatch.setattr(weights_file, "HEAD_BITS", bits)
    model = biased(make(hidden_size=hidden, initializer_range=0.2))
    (prompt,) = prompts([15])
    hidden_RC = lines_of(model, 1, quantize="int4").read([0], [prompt], num_outputs=15, hidden=True)
    hidden_states = hidden_RC.numpy()
    lines = lines_of(model, 1, quantize="int4")
    logits = lines.read([0], [prompt], num_outputs=15).numpy()
    assert np.array_equal(lines.runner.logits(hidden_RC).numpy(), logits)
    expected = product(hidden_states, model.get_parameter("head.weight").detach(), bits)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("quantize", BITS)
@pytest.mark.parametrize("name", ODD)
def test_logits_are_those_of_the_rounded_weights_but_for_the_rounding_of_rows(name, quantize):
    model = biased(make(context=80, initializer_range=0.2, **ODD[name]))
    asked = prompts([50, 1, 18])
    found = lines_of(model, 3, quantize=quantize).read([2, 0, 1], asked)
    with torch.no_grad():
        for module in model.layers.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.copy_(dequantized(module.weight, BITS[quantize]))
        head = model.embed.weight if model.head is None else model.head.weight
        head = dequantized(head, 8)  # tied or not, the embedding stays as it is
        hidden = torch.stack([model(torch.tensor([ids]))[0, -1] for ids in asked])
    expected = hidden @ head.T
    assert (found - expected).norm() < 0.1 * expected.norm()


MODEL = biased(make(context=120, intermediate_size=67, initializer_range=0.2))


@settings(max_examples=20, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 70), min_size=1, max_size=20),
    threads=st.integers(1, 3),
    chunk=st.integers(1, 90),
    quantize=st.sampled_from(list(BITS)),
    data=st.data(),
)
def test_a_chat_has_the_same_numbers_to_the_last_bit_alone_and_in_company(lengths, threads, chunk, quantize, data):
    places = data.draw(st.permutations(range(len(lengths))))
    check_alone_and_in_company(MODEL, lengths, places, threads, chunk, quantize)


def test_where_torch_does_the_work_it_is_refused(monkeypatch):
    with pytest.raises(InvalidParameter, match="hidden size 34"):
        make_runner(make(hidden_size=34), 1, "int8")
    with pytest.raises(InvalidParameter, match="on CPUs only"):
        make_runner(make().to("meta"), 1, "int8")
    monkeypatch.setattr("turnwise.engine.native.library.libraries", lambda: ())
    with pytest.raises(InvalidParameter, match=r"a C\+\+ compiler"):
        make_runner(make(), 1, "int4")
    assert isinstance(make_runner(make(), 1), TorchRunner)


def test_an_engine_says_what_its_weights_were_rounded_to():
    kinds = set()
    for quantize in (None, "int8", "int4"):
        engine = Engine(make(), max_num_seqs=1, quantize=quantize)
        kinds.add(engine.kind)
        engine.close()
    assert len(kinds) == 3
