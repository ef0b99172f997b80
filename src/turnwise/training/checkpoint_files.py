"""Checkpoints on disk: weights, optimizer state, random state and counters, in safetensors and JSON.

Files contain full tensors. In memory, a sharded model holds local shards (`distributed/sharding.py`).
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from turnwise.core.errors import UserError
from turnwise.core.files import atomic_directory
from turnwise.models.safetensors_writer import save_safetensors
from turnwise.training.distributed.sharding import as_sharded, gather_full, local_shard, slice_for_rank
from turnwise.training.renamed_keys import with_current_state_keys

CHECKPOINT, BEST, START = "checkpoint", "best", "start"
RolloutState = tuple[dict[str, Tensor], dict[str, Any]]
"""Tensors and plain values of a source of sampled replies."""
ROLLBACK = "rollback"  # checkpoint for rollbacks after loss spikes; written at fixed steps, independent of the clock


@dataclass
class TrainerState:
    """Counters and losses of a run, stored as `state.json`. Losses are means per unit of the objective.

    Attributes:
        data: fingerprint of the training and validation examples.
        step: optimizer steps made; with `skipped_rows` also the position in the data.
        seconds: time spent in optimizer steps.
        useful_tokens: tokens trained on, without padding.
        best_score, best_step: lowest validation score and its step; see `Objective.validation_score`.
        bad_validations: consecutive validations without a new best, for early stopping.
        valid_before, test_before, retention_before: losses before the first step.
        first_loss: training loss of the first step.
        mean_loss: running mean of the training loss, for spike detection.
        skipped_rows: rows skipped after loss spikes.
        lr_scale: factor of the learning rate; halved by every rollback.
        rollbacks: number of rollbacks.
        validated: last step with a validation.
        micro_batch_size: rows per micro-batch, if memory allows fewer than the recipe sets.
    """

    data: str = ""
    step: int = 0
    seconds: float = 0.0
    useful_tokens: int = 0
    best_score: float | None = None
    best_step: int = 0
    bad_validations: int = 0
    valid_before: float | None = None
    test_before: float | None = None
    retention_before: float | None = None
    first_loss: float | None = None
    mean_loss: float | None = None
    skipped_rows: int = 0
    lr_scale: float = 1.0
    rollbacks: int = 0
    validated: int = 0
    micro_batch_size: int | None = None


def save_checkpoint(
    work: Path,
    state: TrainerState,
    module: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    recipe_text: str,
    average: dict[str, Tensor] | None = None,
    rollouts: RolloutState | None = None,
    *,
    write: bool = True,
    rollback: bool = False,
) -> None:
    """Replace the checkpoint in `work` atomically. A collective operation: all workers must call it.

    Args:
        work: folder of the run.
        state: counters and losses.
        module: model with the trainable weights.
        optimizers: their states are saved.
        recipe_text: the recipe as given by the user.
        average: averaged weights (EMA), if used.
        rollouts: state of the source of sampled replies, if the objective has one.
        write: True on the worker that writes the files.
        rollback: also use it as the checkpoint for rollbacks.
    """
    weights = gather_trainable(module, keep=write)
    optimizer_state = {
        f"{i}.{index}.{key}": value
        for i, optimizer in enumerate(optimizers)
        for index, values in optimizer.state_dict()["state"].items()
        for key, value in values.items()
    }
    tensors = gather_full(optimizer_state, keep=write)
    if average is not None:
        sharded = {name: as_sharded(average[name], like) for name, like in _trainable(module).items()}
        average = gather_full(sharded, keep=write)
    if not write:
        return
    with atomic_directory(work / (ROLLBACK if rollback else CHECKPOINT)) as folder:
        save_safetensors(weights, folder / "model.safetensors")
        tensors["rng"] = torch.get_rng_state()
        if torch.cuda.is_available():
            tensors["rng_cuda"] = torch.cuda.get_rng_state()
        save_safetensors(tensors, folder / "optimizer.safetensors")
        if average is not None:
            save_safetensors(average, folder / "average.safetensors")
        _save_rollouts(rollouts, folder)
        (folder / "state.json").write_text(json.dumps(asdict(state), indent=2))
        (folder / "recipe.yaml").write_text(recipe_text, encoding="utf-8")
    if rollback:
        with atomic_directory(work / CHECKPOINT) as folder:
            for path in (work / ROLLBACK).iterdir():
                _link(path, folder / path.name)


def _link(path: Path, target: Path) -> None:
    """Create a hard link, or a copy on file systems without hard links."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copy(path, target)


def load_checkpoint(
    work: Path, module: nn.Module, optimizers: list[torch.optim.Optimizer], name: str = CHECKPOINT
) -> TrainerState | None:
    """Load weights, optimizer state and random state from a checkpoint; None if there is none."""
    folder = work / name
    if not folder.is_dir():
        return None
    load_trainable(module, _load_shards(folder / "model.safetensors", module))
    tensors = load_file(folder / "optimizer.safetensors")
    torch.set_rng_state(tensors.pop("rng"))
    cuda_rng = tensors.pop("rng_cuda", None)
    if cuda_rng is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(cuda_rng)
    states: list[dict[int, dict[str, Tensor]]] = [{} for _ in optimizers]
    parameters = [[p for group in optimizer.param_groups for p in group["params"]] for optimizer in optimizers]
    for name, tensor in tensors.items():
        i, index, key = name.split(".")
        like = parameters[int(i)][int(index)]
        if tensor.dim() and tensor.shape != like.shape:  # the fused optimizer would read beyond the state
            raise UserError(f"{folder} was written by another version of Turnwise: train again with --restart.")
        value = as_sharded(slice_for_rank(tensor, like), like) if tensor.dim() else tensor  # AdamW's step is a scalar
        states[int(i)].setdefault(int(index), {})[key] = value
    for optimizer, state in zip(optimizers, states, strict=True):
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return TrainerState(**with_current_state_keys(json.loads((folder / "state.json").read_text())))


def load_ema(work: Path, module: nn.Module, name: str = CHECKPOINT) -> dict[str, Tensor] | None:
    """Load the averaged weights (EMA) of a checkpoint; None if it has none."""
    path = work / name / "average.safetensors"
    return _load_shards(path, module) if path.is_file() else None


def _save_rollouts(rollouts: RolloutState | None, folder: Path) -> None:
    if rollouts is not None:
        save_safetensors(rollouts[0], folder / "rollouts.safetensors")
        (folder / "rollouts.json").write_text(json.dumps(rollouts[1], indent=2))


def load_rollouts(work: Path, name: str = CHECKPOINT) -> RolloutState | None:
    """Load the state of the source of sampled replies of a checkpoint; None if it has none."""
    folder = work / name
    if not (folder / "rollouts.json").is_file():
        return None
    return load_file(folder / "rollouts.safetensors"), json.loads((folder / "rollouts.json").read_text())


def read_checkpoint_recipe(work: Path) -> str | None:
    """Read the recipe of the checkpoint in `work`; None if there is no checkpoint."""
    path = work / CHECKPOINT / "recipe.yaml"
    return path.read_text(encoding="utf-8") if path.is_file() else None


def save_snapshot(
    work: Path, module: nn.Module, name: str, rollouts: RolloutState | None = None, *, write: bool = True
) -> None:
    """Save the trainable weights, and the state of a source of sampled replies if given, as `BEST` or `START`.

    A collective operation; one worker has `write` set.
    """
    weights = gather_trainable(module, keep=write)
    if write:
        with atomic_directory(work / name) as folder:
            save_safetensors(weights, folder / "model.safetensors")
            _save_rollouts(rollouts, folder)


def load_snapshot(work: Path, module: nn.Module, name: str) -> dict[str, Tensor] | None:
    """Load the weights of a snapshot; None if there is none."""
    path = work / name / "model.safetensors"
    return _load_shards(path, module) if path.is_file() else None


def gather_trainable(module: nn.Module, *, keep: bool) -> dict[str, Tensor]:
    """Gather the full trainable weights on workers with `keep` set. A collective operation."""
    return gather_full(_trainable(module), keep=keep)


def trainable_state(module: nn.Module) -> dict[str, Tensor]:
    """Return this worker's trainable weights on the CPU; all other weights equal the base model's."""
    return {name: local_shard(parameter).cpu().contiguous() for name, parameter in _trainable(module).items()}


@torch.no_grad()
def load_trainable(module: nn.Module, weights: dict[str, Tensor]) -> None:
    """Copy values into the trainable weights."""
    for name, parameter in _trainable(module).items():
        local_shard(parameter).copy_(weights[name])


def _trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def _load_shards(path: Path, module: nn.Module) -> dict[str, Tensor]:
    """Read this worker's shard of every trainable weight, one tensor at a time."""
    with safe_open(str(path), framework="pt") as file:
        return {name: slice_for_rank(file.get_tensor(name), like) for name, like in _trainable(module).items()}
