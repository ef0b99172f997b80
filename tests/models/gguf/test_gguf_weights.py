"""GGUF files load like the Hugging Face folders they were made from: the same tensors and logits."""

import json
import shutil

import gguf
import numpy as np
import pytest
import torch
from family_cases import CASES
from gguf.constants import GGMLQuantizationType
from gguf_files import random_blocks, to_gguf_layout, write_gguf
from safetensors.numpy import load_file, save_file

from turnwise.core.errors import UserError
from turnwise.models.adapter_config import adapter_base_folder
from turnwise.models.adapters import LoraWeights, save_adapter
from turnwise.models.checkpoint import Checkpoint, load
from turnwise.models.gguf.weights import GgufWeights
from turnwise.models.model_folders import find_model_folder
from turnwise.models.quantized_blocks import BLOCK_FORMATS, QuantizedBlocks

IDS = torch.randint(0, 96, (2, 24), generator=torch.Generator().manual_seed(0))
# Settings that a GGUF file cannot express.
OTHER_SETTINGS = {("llama", "llama3 rope"), ("smollm3", "every second"), ("smollm3", "listed windowed")}
WRITABLE = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4")


@torch.inference_mode()
def logits(path):
    model = load(find_model_folder(str(path)), dtype=torch.float32)
    return model.decoder.logits(model.decoder(IDS))


@pytest.mark.parametrize(("family", "case"), [case for case in CASES if case not in OTHER_SETTINGS])
def test_a_file_in_float32_gives_the_logits_of_its_folder(gguf_of, family, case):
    path, folder, hf_model = gguf_of(family, case)
    assert torch.equal(logits(path), logits(folder))
    with torch.inference_mode():
        torch.testing.assert_close(logits(path), hf_model(IDS).logits, rtol=0, atol=1e-4)


def test_llama3_scaling_is_recognized_in_its_divisors(published, tmp_path):
    folder, hf_model = published("llama", "llama3 scaling")
    frequencies = 500_000.0 ** -(np.arange(0, 32, 2) / 32)
    with_factors = shutil.copytree(folder, tmp_path / "factors")
    config = json.loads((folder / "config.json").read_text())
    config["rope_factors"] = list(frequencies / hf_model.model.rotary_emb.inv_freq.numpy())
    (with_factors / "config.json").write_text(json.dumps(config))
    path = write_gguf(tmp_path / "m.gguf", with_factors)
    converted = json.loads((find_model_folder(str(path)) / "config.json").read_text())
    assert converted["rope_scaling"]["factor"] == 8.0
    with torch.inference_mode():
        torch.testing.assert_close(logits(path), hf_model(IDS).logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["F16", "BF16", *BLOCK_FORMATS])
def test_every_format_gives_the_logits_of_its_dequantized_weights(published, tmp_path, name):
    folder, _ = published("llama", "large")
    kind, stored = GGMLQuantizationType[name], {}

    def quantize(gguf_name, array):
        if name == "F16":
            stored[gguf_name] = array.astype(np.float16)
        elif name in WRITABLE or name == "BF16":
            stored[gguf_name] = gguf.quants.quantize(array, kind)
        else:
            stored[gguf_name] = random_blocks(kind, *array.shape, seed=len(stored))
        return stored[gguf_name], kind

    path = write_gguf(tmp_path / "m.gguf", folder, quantize=quantize)
    dequantized = {key: gguf.quants.dequantize(value, kind) for key, value in stored.items()}
    weights = GgufWeights(path)
    config = json.loads((folder / "config.json").read_text())
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    tensors = {}
    for hf_name, original in load_file(folder / "model.safetensors").items():
        tensor = weights.read(hf_name)
        tensors[hf_name] = tensor.float().numpy()
        if original.ndim == 2:
            module, _, suffix = hf_name.rpartition(".")
            in_file = to_gguf_layout("llama", config, hf_name, tensors[hf_name])
            np.testing.assert_array_equal(in_file, dequantized[f"{names.get_name(module)}.{suffix}"])
    assert np.isfinite(tensors["model.embed_tokens.weight"]).all()
    reference = shutil.copytree(folder, tmp_path / "reference")
    save_file(tensors, reference / "model.safetensors")
    assert torch.equal(logits(path), logits(reference))


class TestBlocks:
    @pytest.fixture
    def checkpoint(self, published, tmp_path):
        """A checkpoint of a file in Q8_0."""
        path = write_gguf(tmp_path / "m.gguf", published("llama", "large")[0], quantize=self.q8_0)
        return Checkpoint(find_model_folder(str(path)), dtype=torch.float32)

    @staticmethod
    def q8_0(name, array):
        return gguf.quants.quantize(array, GGMLQuantizationType.Q8_0), GGMLQuantizationType.Q8_0

    @pytest.mark.parametrize("name", ["layers.0.attention.qkv.weight", "layers.1.mlp.up.weight", "embed.weight"])
    def test_the_blocks_of_a_matrix_dequantize_to_it(self, checkpoint, name):
        blocks = checkpoint.quantized(name)
        assert {matrix.format for matrix in blocks} == {"Q8_0"}
        stacked = torch.cat([torch.from_numpy(matrix.dequantize()) for matrix in blocks])
        assert torch.equal(stacked, checkpoint.tensor(name))
        assert sum(matrix.outputs for matrix in blocks) == checkpoint.shapes[name][0]

    def test_a_vector_and_a_float_matrix_have_none(self, checkpoint, gguf_of):
        assert checkpoint.quantized("norm.weight") is None
        float_checkpoint = Checkpoint(find_model_folder(str(gguf_of("llama")[0])))
        assert float_checkpoint.quantized("embed.weight") is None

    def test_a_matrix_that_an_adapter_changes_has_none(self, published, tmp_path):
        path = write_gguf(tmp_path / "m.gguf", published("llama", "large")[0], quantize=self.q8_0)
        (tmp_path / "adapter").mkdir()
        change = LoraWeights(torch.randn(2, 256), torch.randn(256, 2))
        base = find_model_folder(str(path))
        save_adapter(tmp_path / "adapter", {"model.layers.0.self_attn.q_proj": change}, base=base, rank=2, alpha=4.0,
                     dropout=0.0, task_type="CAUSAL_LM")  # fmt: skip
        checkpoint = Checkpoint(tmp_path / "adapter", dtype=torch.float32)
        assert checkpoint.quantized("layers.0.attention.qkv.weight") is None
        assert checkpoint.stored_dtype("layers.0.attention.qkv.weight") == torch.float32
        assert checkpoint.quantized("layers.1.attention.qkv.weight") is not None

    def test_an_adapter_names_the_file_and_fits_it_whatever_it_is_converted_to(self, published, tmp_path):
        path = write_gguf(tmp_path / "m.gguf", published("llama", "large")[0], quantize=self.q8_0)
        adapter, base = tmp_path / "adapter", find_model_folder(str(path))
        adapter.mkdir()
        change = {"model.layers.0.self_attn.q_proj": LoraWeights(torch.randn(2, 256), torch.randn(256, 2))}
        save_adapter(adapter, change, base=base, rank=2, alpha=4.0, dropout=0.0, task_type="CAUSAL_LM")
        assert json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"] == str(path)
        (base / "config.json").write_text((base / "config.json").read_text() + "\n")  # by a later version
        assert adapter_base_folder(adapter) == base
        write_gguf(path, published("llama", "untied")[0])
        with pytest.raises(UserError, match="its base has changed since"):
            adapter_base_folder(adapter)

    def test_gpt2_has_rows_of_outputs(self, gguf_of):
        path, *_ = gguf_of("gpt2", "tied", quantize=self.q8_0)
        checkpoint = Checkpoint(find_model_folder(str(path)), dtype=torch.float32)
        (blocks,) = checkpoint.quantized("layers.0.attention.qkv.weight")
        assert (blocks.outputs, blocks.inputs) == (96, 32)
        assert torch.equal(torch.from_numpy(blocks.dequantize()), checkpoint.tensor("layers.0.attention.qkv.weight"))

    def test_rows_are_selected_in_order(self):
        blocks = QuantizedBlocks("Q4_K", 512, random_blocks(GGMLQuantizationType.Q4_K, 5, 512))
        rows = [4, 0, 4]
        np.testing.assert_array_equal(blocks.select_rows(rows).dequantize(), blocks.dequantize()[rows])


def test_an_lm_head_of_its_own_is_not_tied(gguf_of):
    for family, case, is_tied in (("llama", "untied", False), ("llama", "tied", True)):
        folder = find_model_folder(str(gguf_of(family, case)[0]))
        assert json.loads((folder / "config.json").read_text())["tie_word_embeddings"] is is_tied


class TestRefusals:
    def assert_refused(self, path, message):
        with pytest.raises(UserError) as caught:
            load(find_model_folder(str(path)))
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_format_that_cannot_be_decoded_is_named(self, gguf_of):
        def as_integers(name, array):
            return (array * 100).astype(np.int32), None

        path, *_ = gguf_of("llama", quantize=as_integers)
        self.assert_refused(path, "is stored as I32")

    def test_a_tensor_that_is_not_part_of_the_architecture_is_named(self, published, tmp_path):
        folder = shutil.copytree(published("llama", "biased")[0], tmp_path / "m")
        tensors = load_file(folder / "model.safetensors")
        del tensors["model.layers.0.self_attn.q_proj.bias"]  # by this one the config is judged
        save_file(tensors, folder / "model.safetensors")
        self.assert_refused(write_gguf(tmp_path / "m.gguf", folder), "bias' is not part of a llama model")

    def test_a_missing_tensor_is_named(self, published, tmp_path):
        folder = shutil.copytree(published("llama", "untied")[0], tmp_path / "m")
        tensors = load_file(folder / "model.safetensors")
        del tensors["model.layers.1.mlp.up_proj.weight"]
        save_file(tensors, folder / "model.safetensors")
        path = write_gguf(tmp_path / "m.gguf", folder)
        self.assert_refused(path, "the tensor 'model.layers.1.mlp.up_proj.weight' is missing")

    def test_a_file_that_was_truncated_after_it_was_opened_is_refused(self, gguf_of):
        path, *_ = gguf_of("llama")
        weights = GgufWeights(path)
        path.write_bytes(path.read_bytes()[:-60_000])
        last = max(weights.tensors, key=lambda name: weights.tensors[name].stop)
        with pytest.raises(UserError, match="it is truncated"):
            weights.read(last)
