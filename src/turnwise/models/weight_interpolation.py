"""Interpolates the weights of a model and of the model that its training started from (WiSE-FT).

A share α of the way keeps most of what training taught, and forgets less (Wortsman et al. 2022, arXiv:2109.01903).
Adapters are interpolated factor by factor ("model soups", Wortsman et al. 2022, arXiv:2203.05482), which is sensible
because one was trained from the other.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from turnwise.core.errors import InvalidParameter
from turnwise.core.files import atomic_directory
from turnwise.models.adapter_config import is_adapter
from turnwise.models.adapters import ADAPTER_WEIGHTS_FILE
from turnwise.models.model_folders import weight_files
from turnwise.models.safetensors_file import SafetensorsFile
from turnwise.models.safetensors_writer import save_safetensors

LORA_B = ".lora_B.weight"  # end of the name of a factor B


def interpolate_folders(start: Path, tuned: Path, alpha: float, target: Path) -> None:
    """Write the model (1−α)·start + α·tuned; all other files are those of `tuned`.

    Args:
        start: model or adapter that the training of `tuned` started from; for a new adapter, its base model.
        tuned: model or adapter.
        alpha: share of the tuned weights, from 0 to 1.
        target: the folder; an existing one is replaced.

    Raises:
        InvalidParameter: the folders do not hold the same tensors.
        SaveFailed: the disk is full or not writable; `target` is unchanged.
    """
    with atomic_directory(target) as folder:
        shutil.copytree(tuned, folder, dirs_exist_ok=True)
        for file in _weight_files(tuned):
            tensors = _read(file)
            if is_adapter(tuned) and not is_adapter(start):  # the new adapter is the whole difference: B A times α
                mixed = {name: tensor * alpha if name.endswith(LORA_B) else tensor for name, tensor in tensors.items()}
            else:
                mixed = _interpolate(_read(start / file.name), tensors, alpha, start)
            save_safetensors({name: tensor.contiguous() for name, tensor in mixed.items()}, folder / file.name)


def _weight_files(folder: Path) -> list[Path]:
    return [folder / ADAPTER_WEIGHTS_FILE] if is_adapter(folder) else weight_files(folder)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InvalidParameter("alpha", f"The weights cannot be interpolated: there is no {path}.")
    file = SafetensorsFile(path)
    return {name: file.read(name) for name in file.tensors}


def _interpolate(
    start: Mapping[str, Tensor], tuned: Mapping[str, Tensor], alpha: float, folder: Path
) -> dict[str, Tensor]:
    """The interpolated tensors, computed in float32, in the dtype of the tuned ones."""
    shapes = {name: tensor.shape for name, tensor in start.items()}
    if shapes != {name: tensor.shape for name, tensor in tuned.items()}:
        raise InvalidParameter("alpha", f"The weights cannot be interpolated: {folder} has tensors of another shape.")
    return {
        name: torch.lerp(start[name].to(torch.float32), tensor.to(torch.float32), alpha).to(tensor.dtype)
        for name, tensor in tuned.items()
    }
