"""Interpolated weights lie on the line between the start of a training and its result."""

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
