"""Adapters: small changes to a base model's weights, in the folder layout of the peft library (LoRA, DoRA).

An adapter's tensors are named after the published weights they change, so whatever loads the base can apply them while
it reads. LoRA (Hu et al. 2021): W + s B A; DoRA (Liu et al. 2024): m (W + s B A) / |W + s B A|, row by row.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from turnwise.core.errors import UserError
from turnwise.core.json_file import preview
from turnwise.core.system_memory import check_fits
from turnwise.models.adapter_config import (
    BASE,
    BUNDLED_MODEL_NAME,
    CONFIG,
    adapter_base_folder,
    bundled_model_folder,
    read_adapter_config,
)
from turnwise.models.model_folders import weights_digest
from turnwise.models.safetensors_file import SafetensorsFile

WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."


@dataclass(frozen=True, slots=True)
class LoraWeights:
    """What an adapter does to one matrix.

    Attributes:
        down: A, `(r, I)`.
        up: B, `(O, r)`.
        magnitude: m, `(O)`, for DoRA.
    """

    down: Tensor
    up: Tensor
    magnitude: Tensor | None = None

    def of(self, weight_OI: Tensor, scale: float) -> Tensor:
        """The changed matrix, float32: rounded to the base's type, much of a small change would be lost."""
        wide = weight_OI.float()
        changed = wide + scale * (self.up.float() @ self.down.float())
        if self.magnitude is not None:
            changed = changed * (self.magnitude.float() / changed.norm(dim=1)).unsqueeze(1)
        return changed


@dataclass(frozen=True)
class Adapter:
    """An adapter and the folder of its base.

    Attributes:
        folder: its own.
        base: that of the model it changes; its own where nobody asked.
        scale: s.
        changes: by the published name of the module, such as "model.layers.0.self_attn.q_proj".
        transposed: whether the base keeps those matrices as `(I, O)`.
    """

    folder: Path
    base: Path
    scale: float
    changes: Mapping[str, LoraWeights]
    transposed: bool

    @torch.no_grad()
    def apply(self, module: nn.Module) -> None:
        """Change a base that is loaded, and whose weights have their published names."""
        weights = dict(module.named_parameters())
        self.reject_unknown_modules(list(weights))
        changed = self.over(weights.__getitem__)
        for name in self.changes:
            weights[f"{name}.weight"].copy_(changed(f"{name}.weight"))

    def inverse(self) -> "Adapter":
        """What takes this adapter out of a model that it was merged into, up to rounding.

        Raises:
            UserError: DoRA, which scales rows by what they were, cannot be undone.
        """
        if any(change.magnitude is not None for change in self.changes.values()):
            raise UserError(f"{self.folder} is a DoRA adapter: what it was merged into does not tell what was before.")
        return replace(self, scale=-self.scale)

    def over(self, get: Callable[[str], Tensor]) -> Callable[[str], Tensor]:
        """A reader of the base's tensors that changes those the adapter is about."""

        def changed(name: str) -> Tensor:
            tensor = get(name)
            change = self.changes.get(name.removesuffix(".weight")) if name.endswith(".weight") else None
            if change is None:
                return tensor
            wanted = (change.up.shape[0], change.down.shape[1])
            found = tensor.T if self.transposed else tensor
            if found.shape != wanted:
                raise UserError(f"{self.folder} changes '{name}' as {wanted}, but the base has {tuple(found.shape)}.")
            made = change.of(found, self.scale)
            return made.T.contiguous() if self.transposed else made

        return changed

    def reject_unknown_modules(self, names: Sequence[str]) -> None:
        """Raise where it changes what none of these published tensors is."""
        known = {name.removesuffix(".weight") for name in names}
        if stray := sorted(self.changes.keys() - known):
            raise UserError(f"{self.folder} changes '{stray[0]}', which its base {self.base} does not have.")


def load_adapter(folder: Path, *, with_base: bool = True) -> Adapter:
    """Read an adapter, and unless told otherwise find its base.

    Raises:
        UserError: of a kind that we do not compute, damaged, or without its base.
        ModelNotFound: its weights or its base are not there.
    """
    config = read_adapter_config(folder)
    rank, alpha = config["r"], float(config["lora_alpha"])
    base = adapter_base_folder(folder) if with_base else folder
    scale = alpha / (rank**0.5 if config.get("use_rslora") else rank)
    return Adapter(folder, base, scale, _read_changes(folder, rank), bool(config.get("fan_in_fan_out")))


def _read_changes(folder: Path, rank: int) -> dict[str, LoraWeights]:
    """The changes by module. Raises `UserError` where the file is missing, damaged or not a LoRA of this rank."""
    path = folder / WEIGHTS
    if not path.is_file():
        raise UserError(f"{path} is missing or damaged.")
    file = SafetensorsFile(path)
    check_fits(sum(header.stop - header.start for header in file.tensors.values()), f"The adapter in {folder}")
    parts: dict[str, dict[str, Tensor]] = {}
    for name in file.tensors:
        module, found, kind = name.removeprefix(PREFIX).rpartition(".lora_")
        if not found or kind.startswith("embedding_") or kind.endswith(".bias"):
            raise UserError(f"{path}: {preview(name)} is no part of a LoRA adapter.")
        parts.setdefault(module, {})[kind.removesuffix(".weight").removesuffix(".default")] = file.read(name)
    changes = {}
    for module, tensors in parts.items():
        down, up, magnitude = tensors.get("A"), tensors.get("B"), tensors.get("magnitude_vector")
        if down is None or up is None:
            raise UserError(f"{path}: of {preview(module)}, lora_A or lora_B is missing.")
        if down.dim() != 2 or up.dim() != 2 or not len(down) == up.shape[1] == rank:
            shapes = f"{tuple(down.shape)} and {tuple(up.shape)}"
            raise UserError(f"{path}: lora_A and lora_B of {preview(module)} are {shapes}, but the rank is {rank}.")
        if magnitude is not None and magnitude.shape != (len(up),):
            raise UserError(f"{path}: lora_magnitude_vector of {preview(module)} should have {len(up)} numbers.")
        changes[module] = LoraWeights(down, up, magnitude)
    return changes


def save_adapter(
    folder: Path, changes: Mapping[str, LoraWeights], *, base: Path, rank: int, alpha: float, dropout: float, kind: str,
    transposed: bool = False,
) -> None:  # fmt: skip
    """Write an adapter into `folder`, a fresh one, as the peft library reads it.

    Args:
        folder: where to.
        changes: by the published name of the module.
        base: the folder of the model they change.
        rank: r.
        alpha: r times the scale.
        dropout: that it was trained with.
        kind: "CAUSAL_LM", "SEQ_2_SEQ_LM" or None-like "", peft's name of the task.
        transposed: whether the base keeps those matrices as `(I, O)`.
    """
    tensors: dict[str, Tensor] = {}
    for module, change in changes.items():
        tensors[f"{PREFIX}{module}.lora_A.weight"] = change.down.detach().cpu().clone().contiguous()
        tensors[f"{PREFIX}{module}.lora_B.weight"] = change.up.detach().cpu().clone().contiguous()
        if change.magnitude is not None:
            tensors[f"{PREFIX}{module}.lora_magnitude_vector"] = change.magnitude.detach().cpu().clone().contiguous()
    config = {
        "peft_type": "LORA",
        "task_type": kind or None,
        "base_model_name_or_path": BUNDLED_MODEL_NAME
        if base.resolve() == bundled_model_folder().resolve()
        else str(base.resolve()),
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": dropout,
        "use_dora": any(change.magnitude is not None for change in changes.values()),
        "fan_in_fan_out": transposed,
        "bias": "none",
        "target_modules": sorted(changes),
        "inference_mode": True,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    (folder / BASE).write_text(json.dumps({"digest": weights_digest(base)}) + "\n")
    try:
        save_file(tensors, str(folder / WEIGHTS), metadata={"format": "pt"})
    except SafetensorError as error:  # it wraps the disk's refusal
        raise OSError(str(error)) from error
    (folder / WEIGHTS).chmod(0o644)
