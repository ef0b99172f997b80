"""Interpolated weights lie on the line between the start of a training and its result."""

import json

import pytest
import torch

from turnwise.core.errors import InvalidParameter
from turnwise.models.adapters import LoraWeights, load_adapter, save_adapter
from turnwise.models.safetensors_file import SafetensorsFile
from turnwise.models.safetensors_writer import save_safetensors
from turnwise.models.weight_interpolation import interpolate_folders

MODULE = "model.layers.0.mlp.down_proj"


def write_model(folder, value):
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    save_safetensors({"weight": torch.full((2, 3), value)}, folder / "model.safetensors")
    return folder


def read(path):
    file = SafetensorsFile(path)
    return {name: file.read(name) for name in file.tensors}


def test_the_tensors_of_a_full_model_are_interpolated(tmp_path):
    start, tuned = write_model(tmp_path / "start", 1.0), write_model(tmp_path / "tuned", 5.0)
    interpolate_folders(start, tuned, 0.25, tmp_path / "mixed")
    assert torch.equal(read(tmp_path / "mixed" / "model.safetensors")["weight"], torch.full((2, 3), 2.0))
    assert (tmp_path / "mixed" / "config.json").is_file()


def write_shards(folder, *names_by_file):
    """A model of several weight files; each tensor is full of its number in "t1", "t2" and so on."""
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    weight_map = {}
    for number, names in enumerate(names_by_file, 1):
        file = f"model-{number:05}-of-{len(names_by_file):05}.safetensors"
        save_safetensors({name: torch.full((2,), float(name[1:])) for name in names}, folder / file)
        weight_map |= dict.fromkeys(names, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}), encoding="utf-8")
    return folder


@pytest.mark.parametrize("start_files", [[("t1", "t2"), ("t3",)], [("t3",), ("t1",), ("t2",)], None])
def test_the_files_of_both_models_may_differ(tmp_path, start_files):
    """A training writes one file, or shards of a size of its own."""
    if start_files is None:
        start = write_model(tmp_path / "start", 0.0)
        save_safetensors({name: torch.zeros(2) for name in ("t1", "t2", "t3")}, start / "model.safetensors")
    else:
        start = write_shards(tmp_path / "start", *start_files)
        for path in start.glob("*.safetensors"):
            save_safetensors({name: torch.zeros(2) for name in read(path)}, path)
    tuned = write_shards(tmp_path / "tuned", ("t1",), ("t2", "t3"))
    interpolate_folders(start, tuned, 0.5, tmp_path / "mixed")
    files = {path.name: read(path) for path in sorted((tmp_path / "mixed").glob("*.safetensors"))}
    assert {name: {tensor: value.tolist() for tensor, value in of_file.items()} for name, of_file in files.items()} == {
        "model-00001-of-00002.safetensors": {"t1": [0.5, 0.5]},
        "model-00002-of-00002.safetensors": {"t2": [1.0, 1.0], "t3": [1.5, 1.5]},
    }
    assert (tmp_path / "mixed" / "model.safetensors.index.json").is_file()


def test_a_tensor_that_only_one_model_has_is_an_error(tmp_path):
    start, tuned = write_shards(tmp_path / "start", ("t1",)), write_shards(tmp_path / "tuned", ("t1",), ("t2",))
    with pytest.raises(InvalidParameter, match="tensors of another shape"):
        interpolate_folders(start, tuned, 0.5, tmp_path / "mixed")


def test_weights_of_another_shape_are_an_error_and_nothing_is_written(tmp_path):
    start, tuned = write_model(tmp_path / "start", 1.0), write_model(tmp_path / "tuned", 2.0)
    save_safetensors({"weight": torch.ones(5)}, start / "model.safetensors")
    with pytest.raises(InvalidParameter, match="tensors of another shape"):
        interpolate_folders(start, tuned, 0.5, tmp_path / "mixed")
    assert not (tmp_path / "mixed").exists()


class TestAdapters:
    @pytest.fixture
    def base(self, model_folder):
        return model_folder

    @staticmethod
    def write(folder, base, rank, seed):
        """An adapter of one matrix with random factors."""
        generator = torch.Generator().manual_seed(seed)
        rows, columns = read(base / "model.safetensors")[f"{MODULE}.weight"].shape
        lora = LoraWeights(
            torch.randn(rank, columns, generator=generator), torch.randn(rows, rank, generator=generator)
        )
        folder.mkdir()
        save_adapter(folder, {MODULE: lora}, base=base, rank=rank, alpha=3.0, dropout=0.0, task_type="CAUSAL_LM")
        return folder

    @staticmethod
    def change(folder):
        """The change of the matrix."""
        adapter = load_adapter(folder)
        lora = adapter.weights[MODULE]
        return adapter.scaling * lora.lora_B @ lora.lora_A

    def test_the_change_of_a_matrix_is_interpolated_also_between_ranks(self, base, tmp_path):
        start, tuned = self.write(tmp_path / "start", base, 2, 0), self.write(tmp_path / "tuned", base, 3, 1)
        interpolate_folders(start, tuned, 0.25, tmp_path / "mixed")
        expected = 0.75 * self.change(start) + 0.25 * self.change(tuned)
        torch.testing.assert_close(self.change(tmp_path / "mixed"), expected)

    def test_the_change_of_a_new_adapter_is_scaled(self, base, tmp_path):
        tuned = self.write(tmp_path / "tuned", base, 3, 1)
        interpolate_folders(base, tuned, 0.5, tmp_path / "mixed")
        torch.testing.assert_close(self.change(tmp_path / "mixed"), 0.5 * self.change(tuned))
