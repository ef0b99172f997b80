"""LoRA factors for adapters that stay unmerged: y = m (W x + U (D x)), computed beside our decoder's matrices.

One copy of W serves any number of adapters (Chen et al. 2023, Punica). D stacks the `lora_A` and U the scaled `lora_B`
of all checkpoint matrices that are joined in W, such as the query, key and value projections. For LoRA m is 1. For
DoRA m is the learned magnitude of each row divided by the norm of the row of W + U D.

Shapes: O outputs, I inputs, R ranks of all joined matrices.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from turnwise.models.adapters import Adapter, LoraWeights
from turnwise.models.families import load_family
from turnwise.models.model_folders import read_hf_config
from turnwise.models.tensor_files import TensorFiles
from turnwise.models.weight_mappings import WeightMapping


@dataclass(frozen=True, slots=True)
class LoraFactors:
    """The update of one matrix of our decoder, in float32.

    Attributes:
        down_RI: D.
        up_OR: U, including the scaling.
        dora_scale_O: m; None if it is 1 everywhere.
    """

    down_RI: Tensor
    up_OR: Tensor
    dora_scale_O: Tensor | None = None


def compute_lora_factors(adapter: Adapter) -> dict[str, LoraFactors]:
    """The factors of an adapter by module name of our decoder, such as "layers.0.attention.qkv".

    Raises:
        UserError: the adapter changes a module that its base does not have, or with another shape.
    """
    hf_config = read_hf_config(adapter.base)
    model_family = load_family(hf_config["model_type"])
    mappings = model_family.weight_mappings(model_family.from_hf_config(hf_config))
    adapter.reject_unknown_modules([name for mapping in mappings for name in mapping.hf_names])
    files = TensorFiles(adapter.base)
    return {
        mapping.decoder_name.removesuffix(".weight"): _join_factors(adapter, mapping, files)
        for mapping in mappings
        if any(_weights_of(adapter, name) for name in mapping.hf_names)
    }


def _weights_of(adapter: Adapter, hf_name: str) -> LoraWeights | None:
    return adapter.weights.get(hf_name.removesuffix(".weight")) if hf_name.endswith(".weight") else None


@torch.no_grad()
def _join_factors(adapter: Adapter, mapping: WeightMapping, files: TensorFiles) -> LoraFactors:
    """Join the updates of the checkpoint matrices of one of ours: D stacked, each U in its rows and rank columns."""
    loras = [_weights_of(adapter, name) for name in mapping.hf_names]
    shapes = [files.header(name).shape[:: -1 if adapter.fan_in_fan_out else 1] for name in mapping.hf_names]
    for name, lora, shape in zip(mapping.hf_names, loras, shapes, strict=True):
        if lora is not None and shape != lora.shape:
            raise adapter.shape_error(name, lora, shape)
    downs = _distinct([lora.lora_A.float() for lora in loras if lora is not None])
    rank_starts = [0]
    for down in downs:
        rank_starts.append(rank_starts[-1] + len(down))
    up_OR = torch.zeros(sum(shape[0] for shape in shapes), rank_starts[-1])
    dora_scale_O = torch.ones(len(up_OR))
    row = 0
    for name, lora, (num_rows, *_) in zip(mapping.hf_names, loras, shapes, strict=True):
        rows = slice(row, row + num_rows)
        row += num_rows
        if lora is None:
            continue
        index = next(number for number, down in enumerate(downs) if torch.equal(down, lora.lora_A.float()))
        up_OR[rows, rank_starts[index] : rank_starts[index + 1]] = adapter.scaling * lora.lora_B.float()
        if lora.magnitude is not None:
            weight_OI = files.get(name).T if adapter.fan_in_fan_out else files.get(name)
            merged_OI = LoraWeights(lora.lora_A, lora.lora_B).merge(weight_OI, adapter.scaling)  # LoRA without DoRA
            dora_scale_O[rows] = lora.magnitude.float() / merged_OI.norm(dim=1)
    has_dora = not bool((dora_scale_O == 1).all())
    return LoraFactors(torch.cat(downs), up_OR, dora_scale_O if has_dora else None)


def _distinct(downs: Sequence[Tensor]) -> list[Tensor]:
    """Remove duplicates: matrices that were trained as one joined matrix share their `lora_A`."""
    distinct: list[Tensor] = []
    for down in downs:
        if not any(torch.equal(down, earlier) for earlier in distinct):
            distinct.append(down)
    return distinct


def changes_only_layers(factors: Mapping[str, LoraFactors]) -> bool:
    """True if only matrices of layers are changed, which is what runners support for unmerged adapters."""
    return all(name.startswith("layers.") for name in factors)
