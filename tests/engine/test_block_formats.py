"""Matrices in ggml's block formats: exact unpacking, exact integer products, embeddings, mixed formats and batches."""

import gguf
import numpy as np
import pytest
import torch
from reference import PagedSequences, make_decoder
from test_native import prompts
from test_quantization import quantize_rows

from turnwise.engine.native import native_runner as runner_file
from turnwise.engine.native.ggml_formats import BLOCK_BYTES, GGML_FORMATS, unpack_blocks
from turnwise.engine.native.library import libraries, library
from turnwise.engine.native.native_runner import NativeRunner
from turnwise.engine.native.structs import WeightFormat
from turnwise.models.decoder_weights import ModuleWeights
from turnwise.models.quantized_blocks import QuantizedBlocks

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(library() is None, reason="no compiled library"),
]

each_format = pytest.mark.parametrize("name", GGML_FORMATS)
HALF_OFFSETS = {"Q6_K": [208], "Q4_0": [0], "Q5_0": [0], "Q8_0": [0]}  # of the float16 numbers in a block; else 0 and 2
SIZES = {"hidden_size": 256, "intermediate_size": 512, "num_heads": 8, "num_kv_heads": 4, "head_dim": 32}


def random_blocks(name, outputs, inputs, seed=0):
    """Blocks with random bits and small scales."""
    rng = np.random.default_rng(seed)
    block_inputs = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]][0]
    blocks = rng.integers(0, 256, (outputs, inputs // block_inputs, BLOCK_BYTES[name]), dtype=np.uint8)
    size = {"Q6_K": 1e-4, "Q4_K": 2e-4, "Q5_K": 1e-4, "Q8_0": 1e-3}.get(name, 1e-2)
    for offset in HALF_OFFSETS.get(name, [0, 2]):
        scales = rng.normal(0, size, blocks.shape[:2]).astype(np.float16)
        blocks[..., offset : offset + 2] = scales[..., None].view(np.uint8)
    return QuantizedBlocks(name, inputs, blocks.reshape(outputs, -1))


class BlockWeights(ModuleWeights):
    """A decoder in memory whose matrices have the values of random blocks, and are also given as blocks.

    `format_of(name, row)` is the format of a checkpoint tensor: queries, keys and values are rows 0, 1 and 2 of qkv.
    """

    def __init__(self, model, format_of):
        super().__init__(model)
        self._blocks = {}
        for name, parameter in model.named_parameters():
            if parameter.dim() != 2:
                continue
            sizes = [len(parameter)]
            if name.endswith("qkv.weight"):
                keys = model.config.num_kv_heads * model.config.head_dim
                sizes = [len(parameter) - 2 * keys, keys, keys]
            parts = [
                random_blocks(format_of(name, row), size, parameter.shape[1], seed=len(self._blocks) * 3 + row)
                for row, size in enumerate(sizes)
            ]
            self._blocks[name] = tuple(parts)
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(np.concatenate([part.dequantize() for part in parts])))

    def block_formats(self, name):
        return None if name not in self._blocks else tuple(part.format for part in self._blocks[name])

    def quantized(self, name):
        return self._blocks.get(name)


def sequences_of(weights, count=1, threads=1):
    num_blocks = PagedSequences.num_blocks(count, weights.config.context_length)
    return PagedSequences(NativeRunner(weights, num_blocks, threads), count, weights.config.context_length)


@each_format
def test_unpacked_integers_and_scales_are_the_dequantized_weights(name):
    blocks = random_blocks(name, 5, 768)
    rows = unpack_blocks(name, blocks.blocks_OB)
    integers = rows.integers_OI.astype(np.float32)
    scales = rows.scales_OG.view(np.int8) if name == "Q6_K" else rows.scales_OG
    if rows.super_scales_OS is not None:
        scales = scales * rows.super_scales_OS.view(np.float16).astype(np.float32).repeat(scales.shape[1] // 3, 1)
    else:
        scales = scales.view(np.float16).astype(np.float32)
    offset = 0 if rows.minimums_OG is not None else 8 if name == "Q4_0" else 128
    weights = (integers - offset) * scales.repeat(768 // scales.shape[1], 1)
    if rows.super_minimums_OS is not None:
        minimums = rows.minimums_OG * rows.super_minimums_OS.view(np.float16).astype(np.float32).repeat(8, 1)
        weights -= minimums.repeat(32, 1)
    elif rows.minimums_OG is not None:
        weights += rows.minimums_OG.view(np.float16).astype(np.float32).repeat(32, 1)
    np.testing.assert_array_equal(weights, blocks.dequantize())


@each_format
@pytest.mark.parametrize("native", libraries(), ids=lambda native: native.turnwise_instruction_set().decode())
def test_logits_are_the_products_of_rounded_activations_and_dequantized_weights(native, name, monkeypatch):
    monkeypatch.setattr(runner_file, "library", lambda *sizes: native)
    weights = BlockWeights(make_decoder(**SIZES), lambda *_: name)
    runner = sequences_of(weights).runner
    hidden = torch.randn(9, 256, generator=torch.Generator().manual_seed(3))
    rows, row_scales = quantize_rows(hidden.numpy())
    rounded = (rows * row_scales[..., None].astype(np.float64)).reshape(9, 256)
    expected = rounded @ weights.tensor("head.weight").double().numpy().T
    actual = runner.logits(hidden).numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@each_format
def test_a_model_in_blocks_has_the_logits_of_its_dequantized_weights(name):
    model = make_decoder(**SIZES)
    weights = BlockWeights(model, lambda *_: name)
    (prompt,) = prompts([40])
    actual = sequences_of(weights).forward([0], [prompt])[0]
    with torch.no_grad():
        expected = model.logits(model(torch.tensor([prompt]))[0, -1])
    assert (actual - expected).norm() < 0.05 * expected.norm()


def test_embeddings_are_the_dequantized_rows():
    """A model whose layers add nothing returns normalised embeddings."""
    for name in GGML_FORMATS:
        model = make_decoder(**SIZES)
        weights = BlockWeights(model, lambda *_, name=name: name)
        for layer in range(2):
            for part in ("attention.out", "mlp.down"):
                (blocks,) = weights._blocks[f"layers.{layer}.{part}.weight"]
                weights._blocks[f"layers.{layer}.{part}.weight"] = (
                    QuantizedBlocks(name, blocks.inputs, np.zeros_like(blocks.blocks_OB)),
                )
        (prompt,) = prompts([20])
        hidden = sequences_of(weights).forward([0], [prompt], num_outputs=20, return_hidden=True)
        embeddings = weights.tensor("embed.weight")[prompt]
        expected = torch.nn.functional.rms_norm(embeddings, (256,), eps=model.config.norm_eps)
        torch.testing.assert_close(hidden, expected, rtol=1e-5, atol=1e-6)


def test_queries_keys_and_values_may_have_different_formats():
    """As in files of the type Q4_K_M."""
    formats = ("Q4_K", "Q4_K", "Q6_K")
    model = make_decoder(**SIZES, qkv_bias=True)
    weights = BlockWeights(model, lambda name, row: formats[row] if "qkv" in name else "Q4_0")
    prompt_ids = prompts([40, 3, 17])
    sequences = sequences_of(weights, 3, threads=2)
    qkv = sequences.runner.packed.struct.layers[0].qkv
    assert qkv.num_segments == 3
    actual = sequences.forward([0, 1, 2], prompt_ids)
    with torch.no_grad():
        expected = torch.stack([model.logits(model(torch.tensor([ids]))[0, -1]) for ids in prompt_ids])
    assert (actual - expected).norm() < 0.05 * expected.norm()
    for number, ids in enumerate(prompt_ids):
        assert torch.equal(sequences_of(weights).forward([0], [ids])[0], actual[number])


@pytest.mark.parametrize("name", ["Q4_1", "Q4_K", "Q6_K"])
def test_the_bits_of_a_sequence_do_not_depend_on_the_batch(name):
    weights = BlockWeights(make_decoder(**SIZES), lambda *_: name)
    prompt_ids = prompts([1, 30, 2, 55, 7, 64, 5, 9, 3])
    together = sequences_of(weights, 9, threads=3).forward(list(range(9)), prompt_ids)
    for number, ids in enumerate(prompt_ids):
        assert torch.equal(sequences_of(weights).forward([0], [ids])[0], together[number])


def test_a_tied_model_stores_its_embedding_once():
    weights = BlockWeights(make_decoder(**SIZES, tied=True), lambda *_: "Q8_0")
    struct = sequences_of(weights).runner.packed.struct
    assert struct.embed.segments[0].weights == struct.lm_head.segments[0].weights


def test_parts_that_cannot_be_stored_as_they_are_become_floats():
    """Keys of 40 rows do not fill panels: with formats that differ, the matrix is dequantized."""
    model = make_decoder(hidden_size=256, num_heads=4, num_kv_heads=1, head_dim=40, intermediate_size=512)
    weights = BlockWeights(model, lambda name, row: "Q8_0" if row == 2 else "Q4_0")
    sequences = sequences_of(weights)
    (prompt,) = prompts([12])
    with torch.no_grad():
        expected = model.logits(model(torch.tensor([prompt]))[0, -1])
    actual = sequences.forward([0], [prompt])[0]
    assert (actual - expected).norm() < 0.05 * expected.norm()


def test_blocks_that_the_library_does_not_compute_become_exact_floats():
    weights = BlockWeights(make_decoder(**SIZES), lambda *_: "Q4_0")
    weights._blocks["head.weight"] = (QuantizedBlocks("IQ4_NL", 256, weights._blocks["head.weight"][0].blocks_OB),)
    struct = sequences_of(weights).runner.packed.struct
    assert struct.lm_head.segments[0].format == WeightFormat.FLOAT32
    assert struct.layers[0].out.segments[0].format == WeightFormat.INT4_GROUP
