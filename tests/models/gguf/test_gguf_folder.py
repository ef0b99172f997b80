"""From a GGUF file to a model folder: paths, the cache, split files, configs, and refusals."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import gguf
import pytest
import torch
from gguf.constants import GGUFValueType
from gguf_files import add_characters, raw_gguf, write_gguf

from turnwise.core.errors import ModelNotFound, UserError
from turnwise.models.checkpoint import load, read_decoder_config
from turnwise.models.model_folders import find_model_folder, weights_digest
from turnwise.models.model_kind import check_servable
from turnwise.models.stored_models import CONVERSION_FILE

TEXT, INTEGER, FLOAT, FLAG, LIST = (
    GGUFValueType[name] for name in ("STRING", "UINT32", "FLOAT32", "BOOL", "ARRAY")
)  # fmt: skip


# The fault, and the metadata that cause it.
REFUSED = {
    "the architecture 'falcon', which is not supported; supported: llama, qwen2,": {
        "general.architecture": ("falcon", TEXT)
    },
    "is not a language model but an adapter": {"general.type": ("adapter", TEXT)},
    "is not a language model but an encoder of images or sound": {"general.type": ("mmproj", TEXT)},
    "is not a language model but of type 'vae'": {"general.type": ("vae", TEXT)},
    "lacks the metadata 'llama.block_count'": {"llama.block_count": None},
    "'llama.block_count' should be a whole number from 0 on, got 'x'": {"llama.block_count": ("x", TEXT)},
    "1,000 layers do not fit its 39 tensors": {"llama.block_count": (1000, INTEGER)},
    "layers that differ in 'llama.attention.head_count' are not": {"llama.attention.head_count": ([4, 2], LIST)},
    "'llama.attention.head_count' is 0": {"llama.attention.head_count": (0, INTEGER)},
    "'llama.rope.dimension_count' is 4, the head size 8": {"llama.rope.dimension_count": (4, INTEGER)},
    "'llama.expert_count': 8 is not supported": {"llama.expert_count": (8, INTEGER)},
    "rotary scaling 'yarn' is not supported": {"llama.rope.scaling.type": ("yarn", TEXT)},
    "'llama.attention.layer_norm_rms_epsilon' should be a number, got nan": {
        "llama.attention.layer_norm_rms_epsilon": (float("nan"), FLOAT)
    },
    "'max_position_embeddings' should be": {"llama.context_length": (2**32 - 1, INTEGER)},
    "holds an encoder": {"llama.attention.causal": (False, FLAG)},
    "'llama.attention.sliding_window_pattern' has 2 entries instead of 4": {
        "llama.attention.sliding_window": (5, INTEGER),
        "llama.attention.sliding_window_pattern": ([True, False], LIST),
    },
    "sliding windows in some layers are not supported for 'llama'": {
        "llama.attention.sliding_window": (5, INTEGER),
        "llama.attention.sliding_window_pattern": ([True, False, True, False], LIST),
    },
    "has a tokenizer of the kind 'bert', which is not supported": {"tokenizer.ggml.model": ("bert", TEXT)},
    "the pre-tokenizer 'mystery' is not supported; supported: codeshell,": {
        "tokenizer.ggml.pre": ("mystery", TEXT)
    },
    "lacks the metadata 'tokenizer.ggml.tokens'": {"tokenizer.ggml.tokens": None},
    "lacks the metadata 'tokenizer.ggml.merges'": {"tokenizer.ggml.merges": None},
    "the merge 'a z' does not join two tokens to a third": {"tokenizer.ggml.merges": (["a z"], LIST)},
    "the merge 'ab' does not join two tokens": {"tokenizer.ggml.merges": (["ab"], LIST)},
    "the tokens 0 and 2 are both 'a'": {"tokenizer.ggml.tokens": (["a", "b", "a"], LIST)},
    "'tokenizer.ggml.token_type' has 2 entries instead of 96": {"tokenizer.ggml.token_type": ([1, 1], LIST)},
    "'tokenizer.ggml.tokens' has 97 entries, more than 96": {
        "tokenizer.ggml.tokens": ([*(str(i) for i in range(97))], LIST),
        "tokenizer.ggml.token_type": ([1] * 97, LIST),
        "tokenizer.ggml.merges": (["1 2"], LIST),
    },
    "has a token of 2,000 characters": {"tokenizer.ggml.tokens": (["x" * 2000], LIST)},
    "'tokenizer.ggml.add_bos_token' should be true or false, got 'yes'": {
        "tokenizer.ggml.add_bos_token": ("yes", TEXT)
    },
}  # fmt: skip


def read_config(folder):
    return json.loads((folder / "config.json").read_text())


class TestPaths:
    def test_the_folder_is_named_after_the_file(self, gguf_of, tmp_path):
        path = gguf_of("llama")[0].rename(tmp_path / "Foo-1B.Q4_1.gguf")
        folder = find_model_folder(str(path))
        assert folder.name == "Foo-1B.Q4_1"
        assert (folder / "model.gguf").resolve() == path
        assert not (tmp_path / "gguf").exists()
        check_servable(folder)

    def test_a_file_is_recognized_without_its_suffix(self, gguf_of, tmp_path):
        path = gguf_of("llama")[0].rename(tmp_path / "sha256-0123")
        assert find_model_folder(str(path)).name == "sha256-0123"

    def test_a_folder_with_one_file_is_a_model(self, gguf_of, tmp_path):
        path, *_ = gguf_of("llama")
        assert find_model_folder(str(tmp_path)) == find_model_folder(str(path))
        (tmp_path / "config.json").write_text("{}")  # of the original model, as on the Hugging Face hub
        assert find_model_folder(str(tmp_path)) == find_model_folder(str(path))

    def test_a_link_named_as_in_converted_folders_is_a_file_like_others(self, gguf_of, tmp_path):
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "model.gguf").symlink_to(gguf_of("llama")[0])
        check_servable(find_model_folder(str(tmp_path / "folder")))

    def test_a_folder_with_several_files_asks_for_one(self, gguf_of, tmp_path):
        shutil.copy(gguf_of("llama")[0], tmp_path / "other.gguf")
        with pytest.raises(UserError, match=r"holds several GGUF files \(llama.gguf, other.gguf\); name one of them"):
            find_model_folder(str(tmp_path))

    def test_a_folder_with_safetensors_stays_what_it_is(self, gguf_of, published, tmp_path):
        folder = shutil.copytree(published("llama", "untied")[0], tmp_path / "folder")
        shutil.copy(gguf_of("llama")[0], folder)
        assert find_model_folder(str(folder)) == folder

    def test_a_copied_folder_with_its_weights_is_a_model(self, gguf_of, tmp_path):
        folder = shutil.copytree(find_model_folder(str(gguf_of("llama")[0])), tmp_path / "copy", symlinks=False)
        assert find_model_folder(str(folder)) == folder
        load(folder)

    def test_a_hub_snapshot_with_one_file_is_a_model(self, gguf_of, tmp_path, monkeypatch):
        cache = tmp_path / "hub" / "models--owner--name"
        (cache / "refs").mkdir(parents=True)
        (cache / "refs" / "main").write_text("abc123")
        (cache / "snapshots" / "abc123").mkdir(parents=True)
        (cache / "blobs").mkdir()
        (cache / "snapshots" / "abc123" / "m.gguf").symlink_to(gguf_of("llama")[0].rename(cache / "blobs" / "0f3a"))
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
        assert find_model_folder("owner/name").name == "m"


class TestCache:
    def test_the_folder_is_made_once(self, gguf_of):
        path, *_ = gguf_of("llama")
        made = (find_model_folder(str(path)) / "config.json").stat()
        again = (find_model_folder(str(path)) / "config.json").stat()
        assert (made.st_ino, made.st_mtime_ns) == (again.st_ino, again.st_mtime_ns)

    def test_a_changed_file_is_converted_anew(self, gguf_of):
        path, *_ = gguf_of("llama")
        folder = find_model_folder(str(path))
        assert read_config(folder)["tie_word_embeddings"] is False
        gguf_of("llama", "tied")
        assert find_model_folder(str(folder)) == folder  # the folder itself notices it too
        assert read_config(folder)["tie_word_embeddings"] is True

    @pytest.mark.parametrize("content", ["", "[]", '{"version": 0, "files": []}', '{"files": [[]]}'])
    def test_a_folder_of_another_version_or_a_damaged_one_is_made_anew(self, gguf_of, content):
        path, *_ = gguf_of("llama")
        folder = find_model_folder(str(path))
        (folder / CONVERSION_FILE).write_text(content)
        (folder / "config.json").write_text("damaged")
        assert read_config(find_model_folder(str(path)))["model_type"] == "llama"

    def test_a_folder_whose_file_is_gone_is_refused(self, gguf_of):
        path, *_ = gguf_of("llama")
        folder = find_model_folder(str(path))
        path.unlink()
        with pytest.raises(ModelNotFound, match="does not exist any more"):
            find_model_folder(str(folder))
        with pytest.raises(ModelNotFound, match=r"model\.gguf is missing"):
            check_servable(folder)

    def test_a_file_without_write_permission_is_converted_and_stays_as_it_is(self, gguf_of):
        path, *_ = gguf_of("llama")
        before = path.read_bytes()
        path.chmod(0o444)
        find_model_folder(str(path))
        assert path.read_bytes() == before

    def test_the_digest_covers_the_weights(self, gguf_of):
        path, *_ = gguf_of("llama")
        before = weights_digest(find_model_folder(str(path)))
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        assert weights_digest(find_model_folder(str(path))) != before


class TestSplitFiles:
    @pytest.fixture
    def shards(self, gguf_of, tmp_path):
        """The files of a model that the gguf package has split into three."""
        path, *_ = gguf_of("llama")
        header, rest = gguf.GGUFReader(path), {}
        files = [tmp_path / "split" / f"m-{number:05d}-of-00003.gguf" for number in (1, 2, 3)]
        files[0].parent.mkdir()
        for number, file in enumerate(files):
            writer = gguf.GGUFWriter(file, "llama")
            if number == 0:
                for key, field in header.fields.items():
                    if not key.startswith("GGUF.") and key != "general.architecture":
                        is_list = field.types[0] == GGUFValueType.ARRAY
                        sub_type = field.types[-1] if is_list else None
                        writer.add_key_value(key, field.contents(), field.types[0], sub_type=sub_type)
            else:
                del writer.kv_data[0]["general.architecture"]
            for key, value in (("split.no", number), ("split.count", 3)):
                writer.add_key_value(key, value, GGUFValueType.UINT16)
            for tensor in header.tensors[number::3]:
                writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
        assert not rest
        return path, files

    def test_all_files_are_read(self, shards):
        path, files = shards
        whole, split = (load(find_model_folder(str(name)), dtype=torch.float32) for name in (path, files[0]))
        for name, parameter in whole.decoder.named_parameters():
            assert torch.equal(parameter, split.decoder.get_parameter(name))
        assert find_model_folder(str(files[0])).name == "m"
        assert find_model_folder(str(files[0].parent)) == find_model_folder(str(files[0]))

    def test_links_to_files_with_other_names_are_read(self, shards, tmp_path):
        _, files = shards
        (tmp_path / "links").mkdir()
        for number, file in enumerate(files):
            (tmp_path / "links" / file.name).symlink_to(file.rename(tmp_path / f"blob{number}"))
        folder = find_model_folder(str(tmp_path / "links"))
        assert folder.name == "m"
        load(folder)

    def test_a_change_in_any_file_is_noticed(self, shards):
        _, files = shards
        folder = find_model_folder(str(files[0]))
        digest, inode = weights_digest(folder), (folder / "config.json").stat().st_ino
        content = bytearray(files[2].read_bytes())
        content[-1] ^= 1
        files[2].write_bytes(content)
        os.utime(files[2], ns=(1, 1))
        assert weights_digest(find_model_folder(str(files[0]))) != digest
        assert (folder / "config.json").stat().st_ino != inode

    def test_a_later_file_asks_for_the_first(self, shards):
        _, files = shards
        with pytest.raises(UserError, match="is a later file of a split model; name the first one"):
            find_model_folder(str(files[1]))

    def test_a_missing_file_is_named(self, shards):
        _, files = shards
        files[1].unlink()
        with pytest.raises(ModelNotFound, match=r"m-00002-of-00003\.gguf is missing"):
            find_model_folder(str(files[0]))

    def test_a_file_in_the_place_of_another_is_refused(self, shards):
        _, files = shards
        shutil.copy(files[2], files[1])
        with pytest.raises(UserError, match="is not shard 2 of the 3 files"):
            find_model_folder(str(files[0]))


class TestConfig:
    def test_it_is_that_of_the_original_folder(self, gguf_of):
        for family, case in (("llama", "biased"), ("qwen3", "separate head size"), ("gpt2", "untied")):
            path, folder, _ = gguf_of(family, case)
            converted, original = (read_decoder_config(f) for f in (find_model_folder(str(path)), folder))
            assert dataclasses.replace(converted, initializer_range=0.2) == original  # only of use for new models

    def test_numbers_are_the_shortest_decimals(self, gguf_of):
        folder = find_model_folder(str(gguf_of("llama")[0]))
        assert read_config(folder)["rms_norm_eps"] == 1e-6

    @pytest.mark.parametrize("message", REFUSED)
    def test_a_fault_is_named_in_one_sentence(self, gguf_of, message):
        path, *_ = gguf_of("llama", metadata=REFUSED[message])
        with pytest.raises(UserError) as caught:
            find_model_folder(str(path))
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)

    def test_a_sliding_window_makes_it_mistral(self, gguf_of):
        path, *_ = gguf_of("llama", metadata={"llama.attention.sliding_window": (7, INTEGER)})
        assert read_config(find_model_folder(str(path)))["model_type"] == "mistral"

    def test_other_rotary_divisors_are_refused(self, published, tmp_path):
        folder = shutil.copytree(published("llama", "untied")[0], tmp_path / "m")
        config = read_config(folder)
        for factors in ([1.0, 2.0, 3.0, 4.0], [1.0] * 3, [0.0] * 4, [float("nan")] * 4):
            (folder / "config.json").write_text(json.dumps(config | {"rope_factors": factors}))
            path = write_gguf(tmp_path / "m.gguf", folder)
            with pytest.raises(UserError, match=r"rope_freqs\.weight"):
                find_model_folder(str(path))

    def test_a_vocabulary_without_weights_is_refused(self, tmp_path):
        writer = gguf.GGUFWriter(tmp_path / "v.gguf", "llama")
        add_characters(writer)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        with pytest.raises(UserError, match="holds no tensors: it is only the vocabulary"):
            find_model_folder(str(tmp_path / "v.gguf"))

    def test_nothing_is_left_of_a_refused_file(self, tmp_path, monkeypatch):
        monkeypatch.setenv("TURNWISE_HOME", str(tmp_path / "home"))
        (tmp_path / "m.gguf").write_bytes(raw_gguf())
        with pytest.raises(UserError):
            find_model_folder(str(tmp_path / "m.gguf"))
        assert not list(Path(tmp_path / "home").rglob("*"))
