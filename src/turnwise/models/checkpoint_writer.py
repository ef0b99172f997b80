"""Saves a decoder as a Hugging Face folder: `config.json` and safetensors, in one file or in shards."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from turnwise.models.dtypes import DTYPES
from turnwise.models.families import load_family
from turnwise.models.model_folders import WEIGHTS_FILE, WEIGHTS_INDEX_FILE

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
    config = model.decoder.config
    model_family = load_family(config.family)
    dtype = dtype or next(model.decoder.parameters()).dtype
    saved_config = {
        **(model.hf_config or NO_SPECIAL_TOKENS | model_family.to_hf_config(config)),
        "architectures": [model_family.ARCHITECTURE],
        "model_type": config.family,
        "dtype": next(name for name, value in DTYPES.items() if value == dtype),
        **(hf_config or {}),
    }
    for key in REMOVED_KEYS:
        saved_config.pop(key, None)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(saved_config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    parameters = dict(model.decoder.named_parameters())
    tensors = {
        name: tensor.detach().to("cpu", dtype)
        for mapping in model_family.weight_mappings(config)
        for name, tensor in mapping.to_hf(parameters[mapping.decoder_name])
    }
    try:
        _save_shards(_split_into_shards(tensors, max_shard_bytes), folder)
    except SafetensorError as error:  # safetensors wraps errors of the disk
        raise OSError(str(error)) from error


def _split_into_shards(tensors: Mapping[str, Tensor], max_shard_bytes: int) -> list[dict[str, Tensor]]:
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if shards[-1] and size + tensor.nbytes > max_shard_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    return shards


def _save_shards(shards: list[dict[str, Tensor]], folder: Path) -> None:
    if len(shards) == 1:
        _save_file(shards[0], folder / WEIGHTS_FILE)
        return
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file_name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        _save_file(shard, folder / file_name)
        weight_map.update(dict.fromkeys(shard, file_name))
    total_size = sum(tensor.nbytes for shard in shards for tensor in shard.values())
    index = {"metadata": {"total_size": total_size}, "weight_map": weight_map}
    (folder / WEIGHTS_INDEX_FILE).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _save_file(tensors: dict[str, Tensor], path: Path) -> None:
    save_file(tensors, str(path), metadata={"format": "pt"})
    path.chmod(0o644)  # safetensors makes its files readable by their owner only
