"""An adapter beside the matrices of our decoder: y = f (W x + U (D x)), instead of merged into them.

So one copy of W serves any number of adapters (Chen et al. 2023, Punica). For LoRA f is 1; for DoRA, which scales the
rows of W + U D to the lengths it learned, f is that length by the row's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from turnwise.core.errors import UserError
from turnwise.models.adapters import Adapter, LoraWeights
from turnwise.models.families import load_family
from turnwise.models.model_folders import read_hf_config
from turnwise.models.tensor_files import TensorFiles
from turnwise.models.weight_mappings import WeightMapping


@dataclass(frozen=True, slots=True)
class LoraFactors:
    """What is added to one matrix, float32.

    Attributes:
        down_RI: D, R the ranks of all that is joined in the matrix.
        up_OR: U, with its scale.
        factor_O: f, where it is not 1 everywhere.
    """

    down_RI: Tensor
    up_OR: Tensor
    dora_scale_O: Tensor | None = None


def compute_lora_factors(adapter: Adapter) -> dict[str, LoraFactors]:
    """What an adapter adds, by the names of our decoder's modules, such as "layers.0.attention.qkv".

    Raises:
        UserError: it changes what its base does not have, or in another shape.
    """
    hf_config = read_hf_config(adapter.base)
    kind = load_family(hf_config["model_type"])
    weight_mappings = kind.weight_mappings(kind.from_hf_config(hf_config))
    adapter.reject_unknown_modules([name for entry in weight_mappings for name in entry.hf_names])
    files = TensorFiles(adapter.base)
    return {
        entry.decoder_name.removesuffix(".weight"): _thin(adapter, entry, files)
        for entry in weight_mappings
        if any(_change(adapter, name) for name in entry.hf_names)
    }


def _change(adapter: Adapter, name: str) -> LoraWeights | None:
    return adapter.changes.get(name.removesuffix(".weight")) if name.endswith(".weight") else None


@torch.no_grad()
def _thin(adapter: Adapter, entry: WeightMapping, files: TensorFiles) -> LoraFactors:
    """The changes of the published matrices that are one of ours: their D under each other, each U in its rows."""
    changes = [_change(adapter, name) for name in entry.hf_names]
    shapes = [files.header(name).shape[:: -1 if adapter.transposed else 1] for name in entry.hf_names]
    for name, change, shape in zip(entry.hf_names, changes, shapes, strict=True):
        if change is not None and shape != (expected := (change.up.shape[0], change.down.shape[1])):
            raise UserError(f"{adapter.folder} changes '{name}' as {expected}, but the base has {shape}.")
    downs = _distinct([change.down.float() for change in changes if change is not None])
    starts = [0]
    for down in downs:
        starts.append(starts[-1] + len(down))
    up_OR = torch.zeros(sum(shape[0] for shape in shapes), starts[-1])
    dora_scale_O = torch.ones(len(up_OR))
    row = 0
    for name, change, (rows, *_) in zip(entry.hf_names, changes, shapes, strict=True):
        if change is not None:
            at = next(number for number, down in enumerate(downs) if torch.equal(down, change.down.float()))
            up_OR[row : row + rows, starts[at] : starts[at + 1]] = adapter.scale * change.up.float()
            if change.magnitude is not None:
                weight = files.get(name).T if adapter.transposed else files.get(name)
                plain = LoraWeights(change.down, change.up)
                dora_scale_O[row : row + rows] = change.magnitude.float() / plain.of(weight, adapter.scale).norm(dim=1)
        row += rows
    return LoraFactors(torch.cat(downs), up_OR, None if bool((dora_scale_O == 1).all()) else dora_scale_O)


def _distinct(downs: Sequence[Tensor]) -> list[Tensor]:
    """Without repeats: matrices that were adapted as one share their D."""
    found: list[Tensor] = []
    for down in downs:
        if not any(torch.equal(down, other) for other in found):
            found.append(down)
    return found


def changes_only_layers(thin: Mapping[str, LoraFactors]) -> bool:
    """Whether nothing but the layers' matrices is changed, which is what engines compute beside them."""
    return all(name.startswith("layers.") for name in thin)
