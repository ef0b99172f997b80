"""The state of a run on disk: enough to go on as if nothing had happened, in safetensors and JSON only.

On disk tensors are whole. In memory they are this worker's parts, where a model is sharded (`sharding.py`).
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from turnwise.core.files import atomic_directory
from turnwise.training.distributed.sharding import as_sharded, gather_full, local_shard, slice_for_rank

CHECKPOINT, BEST, START = "checkpoint", "best", "start"
ROLLBACK = "rollback"  # the checkpoint that a spike goes back to; written at fixed steps, whatever the clock says


@dataclass
class TrainerState:
    """Where a run stands. Losses are per predicted token.

    Attributes:
        data: fingerprint of what is learned from.
        step: optimiser steps made; also the position in the data, whose order depends on the seed alone.
        best_loss, best_step: the lowest validation loss and when.
        bad_validations: validations in a row without a new best (early stopping).
        valid_before, test_before, general_before: before the first step.
        first_loss, mean_loss: of the first step, and of the last ones, to know a spike by.
        skipped_rows: rows that were left out after a spike.
        rate_scale: what spikes have left of the learning rate.
        rollbacks: how often the run went back.
        validated: the last step after which held-out data was measured.
        micro_rows: rows that are computed at a time, where memory allowed fewer than the recipe says.
    """

    data: str = ""
    step: int = 0
    seconds: float = 0.0
    useful_tokens: int = 0
    best_loss: float | None = None
    best_step: int = 0
    bad_validations: int = 0
    valid_before: float | None = None
    test_before: float | None = None
    general_before: float | None = None
    first_loss: float | None = None
    mean_loss: float | None = None
    skipped_rows: int = 0
    rate_scale: float = 1.0
    rollbacks: int = 0
    validated: int = 0
    micro_rows: int | None = None


def save_checkpoint(
    work: Path,
    state: TrainerState,
    module: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    recipe_text: str,
    average: dict[str, Tensor] | None = None,
    *,
    write: bool = True,
    rollback: bool = False,
) -> None:
    """Replace the checkpoint in `work`, whole or not at all; all workers have to call, and one of them to `write`.

    Args:
        work: the run's folder.
        state, module, optimizers: what to save.
        recipe_text: the recipe as it was given.
        average: of the weights, if one is kept.
        write: whether this worker writes.
        rollback: also make it the checkpoint that a spike goes back to.
    """
    weights = gather_trainable(module, keep=write)
    moments = {
        f"{i}.{index}.{key}": value
        for i, optimizer in enumerate(optimizers)
        for index, values in optimizer.state_dict()["state"].items()
        for key, value in values.items()
    }
    tensors = gather_full(moments, keep=write)
    if average is not None:
        own = {name: as_sharded(average[name], like) for name, like in _learning(module).items()}
        average = gather_full(own, keep=write)
    if not write:
        return
    with atomic_directory(work / (ROLLBACK if rollback else CHECKPOINT)) as folder:
        _save(weights, folder / "model.safetensors")
        tensors["rng"] = torch.get_rng_state()
        if torch.cuda.is_available():
            tensors["rng_cuda"] = torch.cuda.get_rng_state()
        _save(tensors, folder / "optimizer.safetensors")
        if average is not None:
            _save(average, folder / "average.safetensors")
        (folder / "state.json").write_text(json.dumps(asdict(state), indent=2))
        (folder / "recipe.yaml").write_text(recipe_text, encoding="utf-8")
    if rollback:
        with atomic_directory(work / CHECKPOINT) as folder:
            for path in (work / ROLLBACK).iterdir():
                _link(path, folder / path.name)


def _link(path: Path, target: Path) -> None:
    """A hard link, or a copy on file systems without them."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copy(path, target)


def load_checkpoint(
    work: Path, module: nn.Module, optimizers: list[torch.optim.Optimizer], name: str = CHECKPOINT
) -> TrainerState | None:
    """Put the weights and optimisers back where a checkpoint in `work` left them; None where there is none."""
    folder = work / name
    if not folder.is_dir():
        return None
    load_trainable(module, _parts(folder / "model.safetensors", module))
    tensors = load_file(folder / "optimizer.safetensors")
    torch.set_rng_state(tensors.pop("rng"))
    drawn = tensors.pop("rng_cuda", None)
    if drawn is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(drawn)
    states: list[dict[int, dict[str, Tensor]]] = [{} for _ in optimizers]
    learning = [[p for group in optimizer.param_groups for p in group["params"]] for optimizer in optimizers]
    for name, tensor in tensors.items():
        i, index, key = name.split(".")
        like = learning[int(i)][int(index)]
        own = as_sharded(slice_for_rank(tensor, like), like) if tensor.dim() else tensor  # AdamW counts its steps
        states[int(i)].setdefault(int(index), {})[key] = own
    for optimizer, found in zip(optimizers, states, strict=True):
        optimizer.load_state_dict({"state": found, "param_groups": optimizer.state_dict()["param_groups"]})
    return TrainerState(**json.loads((folder / "state.json").read_text()))


def load_ema(work: Path, module: nn.Module, name: str = CHECKPOINT) -> dict[str, Tensor] | None:
    """The average of the weights in the checkpoint, where one was kept."""
    path = work / name / "average.safetensors"
    return _parts(path, module) if path.is_file() else None


def read_checkpoint_recipe(work: Path) -> str | None:
    """The recipe that the checkpoint in `work` was made with."""
    path = work / CHECKPOINT / "recipe.yaml"
    return path.read_text(encoding="utf-8") if path.is_file() else None


def save_snapshot(work: Path, module: nn.Module, name: str, *, write: bool = True) -> None:
    """Keep these weights as `BEST` so far, or as those at the `START`; all have to call, and one of them to `write`."""
    weights = gather_trainable(module, keep=write)
    if write:
        with atomic_directory(work / name) as folder:
            _save(weights, folder / "model.safetensors")


def load_snapshot(work: Path, module: nn.Module, name: str) -> dict[str, Tensor] | None:
    """The weights kept under this name, where there are any."""
    path = work / name / "model.safetensors"
    return _parts(path, module) if path.is_file() else None


def gather_trainable(module: nn.Module, *, keep: bool) -> dict[str, Tensor]:
    """The whole weights that learn, for who wants to `keep` them; all workers have to ask."""
    return gather_full(_learning(module), keep=keep)


def trainable_state(module: nn.Module) -> dict[str, Tensor]:
    """The weights that learn; all others are still those of the base."""
    return {name: local_shard(parameter).cpu().contiguous() for name, parameter in _learning(module).items()}


@torch.no_grad()
def load_trainable(module: nn.Module, weights: dict[str, Tensor]) -> None:
    """Give the weights that learn these values."""
    for name, parameter in _learning(module).items():
        local_shard(parameter).copy_(weights[name])


def _learning(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def _parts(path: Path, module: nn.Module) -> dict[str, Tensor]:
    """Our parts of the weights in a file, read one after the other."""
    with safe_open(str(path), framework="pt") as file:
        return {name: slice_for_rank(file.get_tensor(name), like) for name, like in _learning(module).items()}


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    try:
        save_file(tensors, path)
    except SafetensorError as error:  # it wraps the disk's refusal
        raise OSError(str(error)) from error
