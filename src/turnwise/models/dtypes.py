"""Dtypes of weights: their names, a config's dtype, and the best one for a device."""

from collections.abc import Mapping
from typing import Any

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def hf_config_dtype(hf_config: Mapping[str, Any]) -> torch.dtype:
    """The dtype of a model's weights according to its config; float32 if the config has none."""
    return DTYPES.get(str(hf_config.get("dtype") or hf_config.get("torch_dtype")), torch.float32)


def auto_dtype(device: torch.device) -> torch.dtype:
    """The fastest dtype: bfloat16 if the hardware multiplies it, else float32 (emulated bfloat16 is far slower)."""
    if device.type == "cuda":
        return torch.bfloat16
    is_fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if device.type == "cpu" and is_fast else torch.float32
