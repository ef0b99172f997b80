"""Saves a decoder as a Hugging Face folder: `config.json` and safetensors, in one file or in shards."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from turnwise.models.decoder_weights import DecoderWeights, ModuleWeights
from turnwise.models.dtypes import DTYPES
from turnwise.models.families import load_family
from turnwise.models.model_folders import WEIGHTS_FILE, WEIGHTS_INDEX_FILE
from turnwise.models.safetensors_writer import save_safetensors
from turnwise.models.weight_mappings import WeightMapping

if TYPE_CHECKING:
    from turnwise.models.decoder_model import DecoderModel

MAX_SHARD_BYTES = 5_000_000_000
# A new model sets its special tokens to null: transformers would otherwise assume the ids of the family's first model.
NO_SPECIAL_TOKENS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
# `torch_dtype` is the old name of `dtype`; `auto_map` refers to code that is not saved.
REMOVED_KEYS = ("torch_dtype", "auto_map")


def save(
    model: "DecoderModel",
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    hf_config: Mapping[str, Any] | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write `config.json` and the weights into a new folder (see `core.files.atomic_directory`).

    Args:
        model: the model to save.
        folder: the new folder.
        dtype: dtype of the saved weights. Default: that of the model.
        hf_config: keys to add to the config or to replace in it, such as token ids.
        max_shard_bytes: larger weights are split into several files with an index.
    """
    dtype = dtype or next(model.decoder.parameters()).dtype
    base_config = model.hf_config or NO_SPECIAL_TOKENS | load_family(model.decoder.config.family).to_hf_config(
        model.decoder.config
    )
    config = {**base_config, **(hf_config or {})}
    save_weights(ModuleWeights(model.decoder), folder, dtype=dtype, hf_config=config, max_shard_bytes=max_shard_bytes)


def save_weights(
    weights: DecoderWeights,
    folder: Path,
    *,
    dtype: torch.dtype,
    hf_config: Mapping[str, Any],
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write `config.json` and the weights into a new folder. One shard at a time is in memory.

    Args:
        weights: the decoder's weights.
        folder: the new folder.
        dtype: dtype of the saved weights.
        hf_config: the config; its dtype and architecture are replaced.
        max_shard_bytes: larger weights are split into several files with an index.
    """
    family = load_family(weights.config.family)
    saved_config = {
        **hf_config,
        "architectures": [family.ARCHITECTURE],
        "model_type": weights.config.family,
        "dtype": next(name for name, value in DTYPES.items() if value == dtype),
    }
    for key in REMOVED_KEYS:
        saved_config.pop(key, None)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(saved_config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    shards = _plan_shards(weights, family.weight_mappings(weights.config), dtype, max_shard_bytes)
    weight_map: dict[str, str] = {}
    total_size = 0
    for number, mappings in enumerate(shards, 1):
        tensors = {
            name: tensor.detach().to("cpu", dtype)
            for mapping in mappings
            for name, tensor in mapping.to_hf(weights.tensor(mapping.decoder_name))
        }
        file_name = WEIGHTS_FILE if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_safetensors(tensors, folder / file_name)
        weight_map.update(dict.fromkeys(tensors, file_name))
        total_size += sum(tensor.nbytes for tensor in tensors.values())
    if len(shards) > 1:
        index = {"metadata": {"total_size": total_size}, "weight_map": weight_map}
        (folder / WEIGHTS_INDEX_FILE).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _plan_shards(
    weights: DecoderWeights, mappings: Sequence[WeightMapping], dtype: torch.dtype, max_shard_bytes: int
) -> list[list[WeightMapping]]:
    shards: list[list[WeightMapping]] = [[]]
    size = 0
    for mapping in mappings:
        num_bytes = weights.shapes[mapping.decoder_name].numel() * dtype.itemsize
        if shards[-1] and size + num_bytes > max_shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(mapping)
        size += num_bytes
    return shards
