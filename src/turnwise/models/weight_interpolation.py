"""Interpolates the weights of a model and of the model that its training started from (WiSE-FT).

A share α of the way keeps most of what training taught, and forgets less (Wortsman et al. 2022, arXiv:2109.01903).
Interpolated adapters are exact: the factors of both stand side by side, so the ranks add up.
"""

import shutil
from pathlib import Path

import torch
from torch import Tensor

from turnwise.core.errors import InvalidParameter
from turnwise.core.files import atomic_directory
from turnwise.models.adapter_config import is_adapter, read_adapter_config
from turnwise.models.adapters import Adapter, LoraWeights, load_adapter, save_adapter
from turnwise.models.model_folders import weight_files
from turnwise.models.safetensors_file import SafetensorsFile
from turnwise.models.safetensors_writer import save_safetensors


def interpolate_folders(start: Path, tuned: Path, alpha: float, target: Path) -> None:
    """Write the model (1−α)·start + α·tuned; all other files are those of `tuned`.

    Args:
        start: model or adapter that the training of `tuned` started from; for a new adapter, its base model.
        tuned: model or adapter.
        alpha: share of the tuned weights, from 0 to 1.
        target: the folder; an existing one is replaced.

    Raises:
        InvalidParameter: the folders do not hold the same tensors, or an adapter is a DoRA adapter.
        SaveFailed: the disk is full or not writable; `target` is unchanged.
    """
    with atomic_directory(target) as folder:
        shutil.copytree(tuned, folder, dirs_exist_ok=True)
        if is_adapter(tuned):
            _save_interpolated_adapter(start, tuned, alpha, folder)
            return
        _save_interpolated_model(start, tuned, alpha, folder)


def _save_interpolated_model(start: Path, tuned: Path, alpha: float, folder: Path) -> None:
    """Overwrite the weight files in `folder`, one after the other. `start` may have other files for its tensors."""
    start_files = [SafetensorsFile(path) for path in weight_files(start)]
    file_of = {name: file for file in start_files for name in file.tensors}
    tuned_files = {path.name: SafetensorsFile(path) for path in weight_files(tuned)}
    shapes = {name: tuple(file.tensors[name].shape) for file in tuned_files.values() for name in file.tensors}
    if shapes != {name: tuple(file.tensors[name].shape) for name, file in file_of.items()}:
        raise InvalidParameter("alpha", f"The weights cannot be interpolated: {start} has tensors of another shape.")
    for name, tuned_file in tuned_files.items():
        mixed = {tensor: _lerp(file_of[tensor].read(tensor), tuned_file.read(tensor), alpha) for tensor in
                 tuned_file.tensors}  # fmt: skip
        save_safetensors(mixed, folder / name)


def _save_interpolated_adapter(start: Path, tuned: Path, alpha: float, folder: Path) -> None:
    """Overwrite the adapter in `folder`. A start that is no adapter changes nothing: its share is 0."""
    new = load_adapter(tuned)
    shares = [(load_adapter(start), 1 - alpha)] if is_adapter(start) else []
    shares.append((new, alpha))
    modules = sorted({name for adapter, _ in shares for name in adapter.weights})
    weights = {name: _side_by_side(name, shares) for name in modules}
    rank = max(len(lora.lora_A) for lora in weights.values())
    padded = {name: _with_rank(lora, rank) for name, lora in weights.items()}
    config = read_adapter_config(tuned)
    save_adapter(
        folder, padded, base=new.base, rank=rank, alpha=float(rank), dropout=0.0,
        task_type=config.get("task_type") or "", fan_in_fan_out=new.fan_in_fan_out,
    )  # fmt: skip


def _side_by_side(module: str, shares: list[tuple[Adapter, float]]) -> LoraWeights:
    """Factors of Σ share · scaling · B A, for an adapter with the scaling 1."""
    factors = [(a.weights[module], share * a.scaling) for a, share in shares if module in a.weights]
    if any(lora.magnitude is not None for lora, _ in factors):
        raise InvalidParameter("alpha", "The weights of DoRA adapters cannot be interpolated.")
    return LoraWeights(
        torch.cat([lora.lora_A.float() for lora, _ in factors]),
        torch.cat([scale * lora.lora_B.float() for lora, scale in factors], dim=1),
    )


def _with_rank(lora: LoraWeights, rank: int) -> LoraWeights:
    """The same update with further ranks of zeros: all modules of an adapter file have one rank."""
    missing = rank - len(lora.lora_A)
    pad = torch.nn.functional.pad
    return LoraWeights(pad(lora.lora_A, (0, 0, 0, missing)), pad(lora.lora_B, (0, missing)))


def _lerp(start: Tensor, tuned: Tensor, alpha: float) -> Tensor:
    """The interpolated tensor, computed in float32, in the dtype of the tuned one."""
    return torch.lerp(start.to(torch.float32), tuned.to(torch.float32), alpha).to(tuned.dtype).contiguous()
