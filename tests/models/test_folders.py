"""Model folders: what is whole opens, and what is not is refused in one sentence."""

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
from turnwise.models import checkpoint_writer
from turnwise.models.checkpoint import create, load, save
from turnwise.models.model_folders import WEIGHTS_INDEX_FILE

IDS = torch.arange(20).unsqueeze(0)


@torch.inference_mode()
def logits(model):
    return model.decoder.logits(model.decoder(IDS))


@pytest.fixture
def folder(published, tmp_path):
    """A copy of a published checkpoint, to be spoiled."""
    return shutil.copytree(published("llama", "untied")[0], tmp_path / "model")


@pytest.fixture
def weights(folder):
    """Change the tensors of `folder`: `weights(name=tensor)`; None takes one out."""

    def change(changes):
        tensors = load_file(folder / "model.safetensors") | changes
        save_file({k: v for k, v in tensors.items() if v is not None}, folder / "model.safetensors")

    return change


def refused(folder, kind, *says):
    with pytest.raises(kind) as caught:
        load(folder, dtype=torch.float32)
    message = str(caught.value)
    assert type(caught.value) is kind
    assert str(folder) in message
    assert "\n" not in message
    assert len(message) < 400
    for words in says:
        assert words in message


class TestShards:
    def test_shards_of_transformers_load(self, published, tmp_path):
        folder, theirs = published("llama", "untied")
        theirs.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
        assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 2
        ours = load(tmp_path / "shards", dtype=torch.float32)
        assert torch.equal(logits(ours), logits(load(folder, dtype=torch.float32)))

    def test_our_shards_load_here_and_in_transformers(self, folder, tmp_path):
        ours = load(folder, dtype=torch.float32)
        save(ours, tmp_path / "shards", max_shard_bytes=20_000)
        index = json.loads((tmp_path / "shards" / WEIGHTS_INDEX_FILE).read_text())
        assert len(set(index["weight_map"].values())) > 2
        assert index["metadata"]["total_size"] == sum(p.nbytes for p in ours.decoder.parameters())
        assert torch.equal(logits(load(tmp_path / "shards", dtype=torch.float32)), logits(ours))
        opened = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "shards", dtype=torch.float32)
        with torch.inference_mode():
            torch.testing.assert_close(opened(IDS).logits, logits(ours), rtol=0, atol=1e-4)

    def test_a_missing_shard_is_named(self, folder, tmp_path):
        save(load(folder, dtype=torch.float32), tmp_path / "shards", max_shard_bytes=20_000)
        gone = sorted((tmp_path / "shards").glob("model-*.safetensors"))[1]
        gone.unlink()
        refused(tmp_path / "shards", ModelNotFound, gone.name, "missing")

    def test_an_index_that_is_no_json_is_refused(self, folder):
        (folder / "model.safetensors").unlink()
        (folder / WEIGHTS_INDEX_FILE).write_text("not json")
        refused(folder, UserError, WEIGHTS_INDEX_FILE, "not readable JSON")

    @pytest.mark.parametrize("index", ["[]", '{"weight_map": 3}', '{"weight_map": {"a": 1}}'])
    def test_a_broken_index_is_refused(self, folder, index):
        (folder / "model.safetensors").unlink()
        (folder / WEIGHTS_INDEX_FILE).write_text(index)
        refused(folder, UserError, WEIGHTS_INDEX_FILE, "not a list of weight files")

    def test_an_index_cannot_point_outside(self, folder):
        (folder / "model.safetensors").rename(folder.parent / "elsewhere.safetensors")
        (folder / WEIGHTS_INDEX_FILE).write_text(json.dumps({"weight_map": {"a": "../elsewhere.safetensors"}}))
        refused(folder, ModelNotFound, "elsewhere.safetensors is missing")


class TestRefused:
    def test_no_folder(self, tmp_path):
        refused(tmp_path / "nowhere", ModelNotFound, "There is no model folder")

    def test_a_folder_without_a_model(self, tmp_path):
        refused(tmp_path, ModelNotFound, "config.json is missing")

    def test_no_weights(self, folder):
        (folder / "model.safetensors").unlink()
        refused(folder, ModelNotFound, "model.safetensors is missing")

    def test_only_pickled_weights(self, folder):
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
        refused(folder, ModelNotFound, "pickled", "can run code", "M.from_pretrained('.').save_pretrained('.')")

    @pytest.mark.parametrize("text", ["", "{", "\xff", "[]", "{}", '"llama"'])
    def test_a_broken_config(self, folder, text):
        (folder / "config.json").write_bytes(text.encode("latin-1"))
        refused(folder, UserError, "config.json")

    @pytest.mark.parametrize("kept", [0, 5, 200, 3000, -1])
    def test_truncated_weights(self, folder, kept):
        whole = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(whole[:kept])
        refused(folder, UserError, "model.safetensors is damaged")

    @pytest.mark.parametrize("name", ["model.layers.1.self_attn.v_proj.weight", "model.norm.weight", "lm_head.weight"])
    def test_a_missing_tensor(self, folder, weights, name):
        weights({name: None})
        refused(folder, UserError, f"the tensor '{name}' is missing")

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
    def test_a_tensor_of_another_shape(self, folder, weights, name, shape):
        weights({name: torch.zeros(shape)})
        refused(folder, UserError, name, str(shape), "config.json asks for")

    def test_parts_that_only_together_have_the_right_size(self, folder, weights):
        parts = "model.layers.0.self_attn.{}_proj.weight"
        weights({parts.format("q"): torch.zeros(24, 32), parts.format("k"): torch.zeros(24, 32)})
        refused(folder, UserError, parts.format("q"))

    def test_weights_that_would_be_left_out(self, folder, weights):
        weights({"model.layers.0.self_attn.q_proj.bias": torch.zeros(32), "model.layers.9.x": torch.zeros(1)})
        refused(folder, UserError, "'model.layers.0.self_attn.q_proj.bias' is not part of a llama model", "1 other")

    @pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
    def test_quantised_weights(self, folder, weights, dtype):
        weights({"model.norm.weight": torch.zeros(32).to(dtype)})
        refused(folder, UserError, "model.norm.weight", "quantized")


class TestSaving:
    def test_a_full_disk_leaves_the_old_folder(self, tiny_model, tmp_path, monkeypatch):
        target = tmp_path / "model"
        with atomic_directory(target) as fresh:
            save(tiny_model, fresh)
        before = {path.name: path.read_bytes() for path in target.iterdir()}

        def full(tensors, path, metadata):
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(checkpoint_writer, "save_file", full)
        with (
            pytest.raises(SaveFailed, match=r"model: No space left on device\."),
            atomic_directory(target) as fresh,
        ):
            save(create(tiny_model.decoder.config, seed=1), fresh)
        assert {path.name: path.read_bytes() for path in target.iterdir()} == before
        assert list(tmp_path.iterdir()) == [target]

    def test_the_published_config_survives(self, folder, tmp_path, edit_json):
        edit_json(
            folder / "config.json", torch_dtype="float16", dtype=None, auto_map={"AutoModel": "x.y"}, bos_token_id=7
        )
        model = load(folder, dtype=torch.float32)
        save(model, tmp_path / "saved", dtype=torch.bfloat16, hf_config={"eos_token_id": [1, 2]})
        written = json.loads((tmp_path / "saved" / "config.json").read_text())
        assert written["bos_token_id"] == 7
        assert written["eos_token_id"] == [1, 2]
        assert written["dtype"] == "bfloat16"
        assert not written.keys() & {"torch_dtype", "auto_map"}
        stored = load_file(tmp_path / "saved" / "model.safetensors")
        assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}

    def test_a_new_model_names_no_special_tokens_of_others(self, tiny_model, tmp_path):
        save(tiny_model, tmp_path / "new")
        opened = transformers.AutoConfig.from_pretrained(tmp_path / "new")
        assert (opened.bos_token_id, opened.eos_token_id, opened.pad_token_id) == (None, None, None)

    def test_the_same_seed_gives_the_same_weights(self, tiny_config):
        first, same, other = (create(tiny_config, seed=seed).decoder.state_dict() for seed in (5, 5, 6))
        assert all(torch.equal(first[name], same[name]) for name in first)
        assert not torch.equal(first["embed.weight"], other["embed.weight"])
