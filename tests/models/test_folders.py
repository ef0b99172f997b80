"""Model folders: valid ones load, invalid ones are rejected with a message of one sentence."""

import errno
import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from turnwise.core.errors import ModelNotFound, SaveFailed, UserError
from turnwise.core.files import atomic_directory
from turnwise.models.checkpoint import create, load, save
from turnwise.models.model_folders import WEIGHTS_INDEX_FILE
from turnwise.models.safetensors_file import SafetensorsFile

IDS = torch.arange(20).unsqueeze(0)


@torch.inference_mode()
def logits(model):
    return model.decoder.logits(model.decoder(IDS))


@pytest.fixture
def folder(published, tmp_path):
    """A copy of a checkpoint that tests may damage."""
    return shutil.copytree(published("llama", "untied")[0], tmp_path / "model")


@pytest.fixture
def weights(folder):
    """`weights({name: tensor})` changes tensors of `folder`; None removes one."""

    def change(changes):
        tensors = load_file(folder / "model.safetensors") | changes
        save_file({k: v for k, v in tensors.items() if v is not None}, folder / "model.safetensors")

    return change


def assert_rejected(folder, kind, *fragments):
    with pytest.raises(kind) as caught:
        load(folder, dtype=torch.float32)
    message = str(caught.value)
    assert type(caught.value) is kind
    assert str(folder) in message
    assert "\n" not in message
    assert len(message) < 400
    for words in fragments:
        assert words in message


class TestShards:
    def test_shards_saved_by_transformers_load(self, published, tmp_path):
        folder, hf_model = published("llama", "untied")
        hf_model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
        assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 2
        model = load(tmp_path / "shards", dtype=torch.float32)
        assert torch.equal(logits(model), logits(load(folder, dtype=torch.float32)))

    def test_saved_shards_load_here_and_in_transformers(self, folder, tmp_path):
        model = load(folder, dtype=torch.float32)
        save(model, tmp_path / "shards", max_shard_bytes=20_000)
        index = json.loads((tmp_path / "shards" / WEIGHTS_INDEX_FILE).read_text())
        assert len(set(index["weight_map"].values())) > 2
        assert index["metadata"]["total_size"] == sum(p.nbytes for p in model.decoder.parameters())
        assert torch.equal(logits(load(tmp_path / "shards", dtype=torch.float32)), logits(model))
        opened = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "shards", dtype=torch.float32)
        with torch.inference_mode():
            torch.testing.assert_close(opened(IDS).logits, logits(model), rtol=0, atol=1e-4)

    def test_a_missing_shard_is_named(self, folder, tmp_path):
        save(load(folder, dtype=torch.float32), tmp_path / "shards", max_shard_bytes=20_000)
        missing_shard = sorted((tmp_path / "shards").glob("model-*.safetensors"))[1]
        missing_shard.unlink()
        assert_rejected(tmp_path / "shards", ModelNotFound, missing_shard.name, "missing")

    def test_an_index_that_is_not_json_is_rejected(self, folder):
        (folder / "model.safetensors").unlink()
        (folder / WEIGHTS_INDEX_FILE).write_text("not json")
        assert_rejected(folder, UserError, WEIGHTS_INDEX_FILE, "not readable JSON")

    @pytest.mark.parametrize("index", ["[]", '{"weight_map": 3}', '{"weight_map": {"a": 1}}'])
    def test_an_invalid_index_is_rejected(self, folder, index):
        (folder / "model.safetensors").unlink()
        (folder / WEIGHTS_INDEX_FILE).write_text(index)
        assert_rejected(folder, UserError, WEIGHTS_INDEX_FILE, "not a list of weight files")

    def test_an_index_cannot_refer_to_files_outside_the_folder(self, folder):
        (folder / "model.safetensors").rename(folder.parent / "elsewhere.safetensors")
        (folder / WEIGHTS_INDEX_FILE).write_text(json.dumps({"weight_map": {"a": "../elsewhere.safetensors"}}))
        assert_rejected(folder, ModelNotFound, "elsewhere.safetensors is missing")


def test_a_header_gives_the_bytes_of_a_tensor_in_the_file(tmp_path):
    path, tensors = tmp_path / "model.safetensors", {"a": torch.arange(5.0), "b": torch.eye(3)}
    save_file(tensors, path)
    headers = SafetensorsFile(path).tensors
    assert headers.keys() == tensors.keys()
    for name, header in headers.items():
        assert path.read_bytes()[header.start : header.stop] == tensors[name].numpy().tobytes()


class TestRejected:
    def test_a_missing_folder_is_rejected(self, tmp_path):
        assert_rejected(tmp_path / "nowhere", ModelNotFound, "There is no model folder")

    def test_a_folder_without_a_config_is_rejected(self, tmp_path):
        assert_rejected(tmp_path, ModelNotFound, "config.json is missing")

    def test_a_folder_without_weights_is_rejected(self, folder):
        (folder / "model.safetensors").unlink()
        assert_rejected(folder, ModelNotFound, "model.safetensors is missing")

    def test_pickled_weights_are_rejected_with_a_conversion_command(self, folder):
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
        assert_rejected(folder, ModelNotFound, "pickled", "can run code", "M.from_pretrained('.').save_pretrained('.')")

    @pytest.mark.parametrize("text", ["", "{", "\xff", "[]", "{}", '"llama"'])
    def test_an_invalid_config_is_rejected(self, folder, text):
        (folder / "config.json").write_bytes(text.encode("latin-1"))
        assert_rejected(folder, UserError, "config.json")

    @pytest.mark.parametrize("length", [0, 5, 200, 3000, -1])
    def test_truncated_weights_are_rejected(self, folder, length):
        content = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(content[:length])
        assert_rejected(folder, UserError, "model.safetensors is damaged")

    @pytest.mark.parametrize("name", ["model.layers.1.self_attn.v_proj.weight", "model.norm.weight", "lm_head.weight"])
    def test_a_missing_tensor_is_rejected_by_name(self, folder, weights, name):
        weights({name: None})
        assert_rejected(folder, UserError, f"the tensor '{name}' is missing")

    @pytest.mark.parametrize(
        ("name", "shape"),
        [
            ("model.norm.weight", (31,)),
            ("model.embed_tokens.weight", (95, 32)),
            ("model.layers.0.self_attn.q_proj.weight", (30, 32)),
            ("model.layers.0.self_attn.q_proj.weight", (32, 31)),
            ("model.layers.0.self_attn.k_proj.weight", ()),
            ("model.layers.0.mlp.down_proj.weight", (48, 32)),
        ],
    )
    def test_a_tensor_of_the_wrong_shape_is_rejected(self, folder, weights, name, shape):
        weights({name: torch.zeros(shape)})
        assert_rejected(folder, UserError, name, str(shape), "config.json says")

    def test_joined_tensors_are_checked_one_by_one(self, folder, weights):
        parts = "model.layers.0.self_attn.{}_proj.weight"
        weights({parts.format("q"): torch.zeros(24, 32), parts.format("k"): torch.zeros(24, 32)})
        assert_rejected(folder, UserError, parts.format("q"))

    def test_unknown_tensors_are_rejected(self, folder, weights):
        weights({"model.layers.0.self_attn.q_proj.bias": torch.zeros(32), "model.layers.9.x": torch.zeros(1)})
        assert_rejected(
            folder, UserError, "'model.layers.0.self_attn.q_proj.bias' is not part of a llama model", "1 other"
        )

    @pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
    def test_quantized_weights_are_rejected(self, folder, weights, dtype):
        weights({"model.norm.weight": torch.zeros(32).to(dtype)})
        assert_rejected(folder, UserError, "model.norm.weight", "quantized")


class TestSaving:
    def test_a_full_disk_leaves_the_previous_folder(self, tiny_model, tmp_path, monkeypatch):
        target = tmp_path / "model"
        with atomic_directory(target) as fresh:
            save(tiny_model, fresh)
        before = {path.name: path.read_bytes() for path in target.iterdir()}

        def disk_full(tensors, path, metadata):
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("safetensors.torch.save_file", disk_full)
        with (
            pytest.raises(SaveFailed, match=r"model: No space left on device\."),
            atomic_directory(target) as fresh,
        ):
            save(create(tiny_model.decoder.config, seed=1), fresh)
        assert {path.name: path.read_bytes() for path in target.iterdir()} == before
        assert list(tmp_path.iterdir()) == [target]

    def test_saving_preserves_the_keys_of_the_loaded_config(self, folder, tmp_path, edit_json):
        edit_json(
            folder / "config.json", torch_dtype="float16", dtype=None, auto_map={"AutoModel": "x.y"}, bos_token_id=7
        )
        model = load(folder, dtype=torch.float32)
        save(model, tmp_path / "saved", dtype=torch.bfloat16, hf_config={"eos_token_id": [1, 2]})
        saved_config = json.loads((tmp_path / "saved" / "config.json").read_text())
        assert saved_config["bos_token_id"] == 7
        assert saved_config["eos_token_id"] == [1, 2]
        assert saved_config["dtype"] == "bfloat16"
        assert not saved_config.keys() & {"torch_dtype", "auto_map"}
        stored = load_file(tmp_path / "saved" / "model.safetensors")
        assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}

    def test_a_new_model_has_no_special_token_ids(self, tiny_model, tmp_path):
        save(tiny_model, tmp_path / "new")
        opened = transformers.AutoConfig.from_pretrained(tmp_path / "new")
        assert (opened.bos_token_id, opened.eos_token_id, opened.pad_token_id) == (None, None, None)

    def test_the_same_seed_gives_the_same_weights(self, tiny_config):
        first, same, different = (create(tiny_config, seed=seed).decoder.state_dict() for seed in (5, 5, 6))
        assert all(torch.equal(first[name], same[name]) for name in first)
        assert not torch.equal(first["embed.weight"], different["embed.weight"])
