"""LoRA and DoRA adapters in the folder layout of PEFT: loading, saving, and merging into a base model.

The tensors of an adapter are named after the modules of the base checkpoint that they change.

LoRA (Hu et al. 2021): W + s B A. DoRA (Liu et al. 2024): m (W + s B A) / ‖W + s B A‖, row by row. A is `lora_A`, B is
`lora_B`, m the magnitude vector, s = alpha / rank the scaling. Shapes: O outputs, I inputs, R rank.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from turnwise.core.errors import UserError
from turnwise.core.json_file import preview
from turnwise.core.system_memory import check_fits
from turnwise.models.adapter_config import (
    ADAPTER_CONFIG_FILE,
    BASE_DIGEST_FILE,
    BUNDLED_MODEL_NAME,
    adapter_base_folder,
    read_adapter_config,
)
from turnwise.models.bundled_models import bundled_model_folder
from turnwise.models.model_folders import weights_digest
from turnwise.models.safetensors_file import SafetensorsFile
from turnwise.models.safetensors_writer import save_safetensors
from turnwise.models.stored_models import converted_gguf, stored_model_name

ADAPTER_WEIGHTS_FILE = "adapter_model.safetensors"
TENSOR_PREFIX = "base_model.model."  # of all tensor names in the file


@dataclass(frozen=True, slots=True)
class LoraWeights:
    """The adapter weights of one matrix.

    Attributes:
        lora_A: `(R, I)`.
        lora_B: `(O, R)`.
        magnitude: `(O)`, for DoRA.
    """

    lora_A: Tensor
    lora_B: Tensor
    magnitude: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix, `(O, I)`."""
        return self.lora_B.shape[0], self.lora_A.shape[1]

    def merge(self, weight_OI: Tensor, scaling: float) -> Tensor:
        """The merged matrix in float32: in the dtype of the base, rounding would lose much of a small update."""
        merged_OI = weight_OI.float() + scaling * (self.lora_B.float() @ self.lora_A.float())
        if self.magnitude is not None:
            merged_OI = merged_OI * (self.magnitude.float() / merged_OI.norm(dim=1)).unsqueeze(1)
        return merged_OI


@dataclass(frozen=True)
class Adapter:
    """A loaded adapter.

    Attributes:
        folder: folder of the adapter.
        base: folder of its base model; the adapter's if it was loaded without a base.
        scaling: alpha / rank, or alpha / √rank (rsLoRA).
        weights: by module name of the base checkpoint, such as "model.layers.0.self_attn.q_proj".
        fan_in_fan_out: True if the base model stores these matrices as `(I, O)`.
    """

    folder: Path
    base: Path
    scaling: float
    weights: Mapping[str, LoraWeights]
    fan_in_fan_out: bool

    @torch.no_grad()
    def merge_into(self, module: nn.Module) -> None:
        """Merge the adapter into a loaded base model with the checkpoint's parameter names."""
        parameters = dict(module.named_parameters())
        self.reject_unknown_modules(list(parameters))
        read_merged = self.merging_reader(parameters.__getitem__)
        for name in self.weights:
            parameters[f"{name}.weight"].copy_(read_merged(f"{name}.weight"))

    def inverse(self) -> "Adapter":
        """An adapter that removes this one from a merged model, up to rounding.

        Raises:
            UserError: this is a DoRA adapter. It rescales rows, so the original weights cannot be recovered.
        """
        if any(weights.magnitude is not None for weights in self.weights.values()):
            raise UserError(f"{self.folder} is a DoRA adapter, which cannot be unmerged.")
        return replace(self, scaling=-self.scaling)

    def merging_reader(self, get_tensor: Callable[[str], Tensor]) -> Callable[[str], Tensor]:
        """Wrap a reader of the base model's tensors: matrices that the adapter changes are returned merged."""

        def get_merged(name: str) -> Tensor:
            tensor = get_tensor(name)
            weights = self.weights.get(name.removesuffix(".weight")) if name.endswith(".weight") else None
            if weights is None:
                return tensor
            base_OI = tensor.T if self.fan_in_fan_out else tensor
            if base_OI.shape != weights.shape:
                raise self.shape_error(name, weights, base_OI.shape)
            merged_OI = weights.merge(base_OI, self.scaling)
            return merged_OI.T.contiguous() if self.fan_in_fan_out else merged_OI

        return get_merged

    def shape_error(self, name: str, weights: LoraWeights, base_shape: Sequence[int]) -> UserError:
        """The error for a matrix of the base model with another shape."""
        return UserError(f"{self.folder} changes '{name}' as {weights.shape}, but the base has {tuple(base_shape)}.")

    def reject_unknown_modules(self, parameter_names: Sequence[str]) -> None:
        """Raise `UserError` if the adapter changes a module that the base model does not have."""
        modules = {name.removesuffix(".weight") for name in parameter_names}
        if unknown := sorted(self.weights.keys() - modules):
            raise UserError(f"{self.folder} changes '{unknown[0]}', which its base {self.base} does not have.")


def load_adapter(folder: Path, *, with_base: bool = True) -> Adapter:
    """Load an adapter.

    Args:
        folder: folder of the adapter.
        with_base: find the base model, too; without it `Adapter.base` is `folder`.

    Raises:
        UserError: the adapter is damaged, not supported, does not name its base, or the base has changed.
        ModelNotFound: the base model does not exist.
    """
    config = read_adapter_config(folder)
    rank, alpha = config["r"], float(config["lora_alpha"])
    base = adapter_base_folder(folder) if with_base else folder
    scaling = alpha / (rank**0.5 if config.get("use_rslora") else rank)
    return Adapter(folder, base, scaling, _read_weights(folder, rank), bool(config.get("fan_in_fan_out")))


def _read_weights(folder: Path, rank: int) -> dict[str, LoraWeights]:
    """The adapter weights by module. Raises `UserError` if the file is missing, damaged or of another rank."""
    path = folder / ADAPTER_WEIGHTS_FILE
    if not path.is_file():
        raise UserError(f"{path} is missing or damaged.")
    file = SafetensorsFile(path)
    check_fits(sum(header.stop - header.start for header in file.tensors.values()), f"The adapter in {folder}")
    tensors_by_module: dict[str, dict[str, Tensor]] = {}
    for name in file.tensors:
        module, separator, role = name.removeprefix(TENSOR_PREFIX).rpartition(".lora_")
        if not separator or role.startswith("embedding_") or role.endswith(".bias"):
            raise UserError(f"{path}: {preview(name)} is not supported in a LoRA adapter.")
        role = role.removesuffix(".weight").removesuffix(".default")
        tensors_by_module.setdefault(module, {})[role] = file.read(name)
    return {module: _lora_weights(path, module, tensors, rank) for module, tensors in tensors_by_module.items()}


def _lora_weights(path: Path, module: str, tensors: Mapping[str, Tensor], rank: int) -> LoraWeights:
    lora_A, lora_B, magnitude = tensors.get("A"), tensors.get("B"), tensors.get("magnitude_vector")
    if lora_A is None or lora_B is None:
        raise UserError(f"{path}: lora_A or lora_B of {preview(module)} is missing.")
    if lora_A.dim() != 2 or lora_B.dim() != 2 or not len(lora_A) == lora_B.shape[1] == rank:
        shapes = f"{tuple(lora_A.shape)} and {tuple(lora_B.shape)}"
        raise UserError(f"{path}: lora_A and lora_B of {preview(module)} are {shapes}, but the rank is {rank}.")
    if magnitude is not None and magnitude.shape != (len(lora_B),):
        raise UserError(f"{path}: lora_magnitude_vector of {preview(module)} should have {len(lora_B)} numbers.")
    return LoraWeights(lora_A, lora_B, magnitude)


def _base_name(base: Path) -> str:
    """The base model as an adapter's config names it: by a name that works on any machine, else by its path."""
    if base == bundled_model_folder().resolve():
        return BUNDLED_MODEL_NAME
    return stored_model_name(base) or str(converted_gguf(base) or base)


def save_adapter(
    folder: Path, weights: Mapping[str, LoraWeights], *, base: Path, rank: int, alpha: float, dropout: float,
    task_type: str, fan_in_fan_out: bool = False,
) -> None:  # fmt: skip
    """Write an adapter into a new folder in the layout of PEFT.

    Args:
        folder: the new folder.
        weights: by module name of the base checkpoint.
        base: folder of the base model.
        rank: `r`.
        alpha: `lora_alpha`; the scaling is alpha / rank.
        dropout: dropout of its training.
        task_type: "CAUSAL_LM", "SEQ_2_SEQ_LM", or "" for none.
        fan_in_fan_out: True if the base model stores these matrices as `(I, O)`.
    """
    tensors: dict[str, Tensor] = {}
    for module, lora in weights.items():
        tensors[f"{TENSOR_PREFIX}{module}.lora_A.weight"] = lora.lora_A
        tensors[f"{TENSOR_PREFIX}{module}.lora_B.weight"] = lora.lora_B
        if lora.magnitude is not None:
            tensors[f"{TENSOR_PREFIX}{module}.lora_magnitude_vector"] = lora.magnitude
    base = base.resolve()
    config = {
        "peft_type": "LORA",
        "task_type": task_type or None,
        "base_model_name_or_path": _base_name(base),
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": dropout,
        "use_dora": any(lora.magnitude is not None for lora in weights.values()),
        "fan_in_fan_out": fan_in_fan_out,
        "bias": "none",
        "target_modules": sorted(weights),
        "inference_mode": True,
    }
    (folder / ADAPTER_CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n")
    (folder / BASE_DIGEST_FILE).write_text(json.dumps({"digest": weights_digest(base)}) + "\n")
    stored = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    save_safetensors(stored, folder / ADAPTER_WEIGHTS_FILE)
