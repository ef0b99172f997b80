"""Converts the rotary settings of a GGUF file. Does not import torch."""

from typing import Any

import numpy as np

from turnwise.core.errors import UserError
from turnwise.core.json_file import preview
from turnwise.models.gguf.header import GgufHeader
from turnwise.models.gguf.metadata import GgufMetadata
from turnwise.models.gguf.tensor_data import read_rows

ROPE_FACTORS = "rope_freqs.weight"  # frequencies are divided by these
LLAMA3_LOW, LLAMA3_HIGH, LLAMA3_POSITIONS = 1.0, 4.0, 8192  # of every Llama 3 model; only the factor differs


def convert_rope(header: GgufHeader, metadata: GgufMetadata, head_dim: int) -> dict[str, Any]:
    """The rotary settings as keys of `config.json`, in the forms of all versions of transformers.

    Raises:
        UserError: the scaling is not supported.
    """
    theta = metadata.number("{arch}.rope.freq_base", 10_000.0)
    scaling_type = metadata.text("{arch}.rope.scaling.type", "linear")  # llama.cpp's default
    linear_factor = metadata.number("{arch}.rope.scaling.factor", metadata.number("{arch}.rope.scale_linear", 1.0))
    scaling: dict[str, Any] = {}
    if scaling_type not in ("none", "linear"):
        raise UserError(
            f"{header.path}: rotary scaling {preview(scaling_type)} is not supported, only linear and Llama 3's."
        )
    if scaling_type == "linear" and linear_factor not in (0.0, 1.0):
        scaling = {"rope_type": "linear", "factor": linear_factor}
    if ROPE_FACTORS in header.tensors:
        factor = _llama3_factor(header, theta, head_dim)
        if factor != 1.0 and scaling:
            raise UserError(f"{header.path}: linear rotary scaling and '{ROPE_FACTORS}' together are not supported.")
        if factor != 1.0:
            scaling = {
                "rope_type": "llama3", "factor": factor, "low_freq_factor": LLAMA3_LOW,
                "high_freq_factor": LLAMA3_HIGH, "original_max_position_embeddings": LLAMA3_POSITIONS,
            }  # fmt: skip
    return {
        "rope_theta": theta,
        "rope_scaling": scaling or None,
        "rope_parameters": {"rope_type": "default", **scaling, "rope_theta": theta},
    }


def _llama3_factor(header: GgufHeader, theta: float, head_dim: int) -> float:
    """The factor of Llama 3's rotary scaling, which the file has as one divisor per frequency; 1 without scaling.

    Raises:
        UserError: the divisors are those of another scaling.
    """
    tensor = header.tensors[ROPE_FACTORS]
    if tensor.type_name != "F32" or tensor.shape != (head_dim // 2,) or theta <= 0:
        raise UserError(f"{header.path}: '{ROPE_FACTORS}' should hold {head_dim // 2} numbers of type F32.")
    divisors = read_rows(tensor, 0, 1).view("<f4")[0].astype(np.float64)
    factor = round(float(divisors.max()), 3) if np.isfinite(divisors).all() and divisors.min() > 0 else 0.0
    if factor > 0:
        frequencies = theta ** -(np.arange(0, head_dim, 2) / head_dim)
        rotations = LLAMA3_POSITIONS * frequencies / (2 * np.pi)
        ramp = np.clip((rotations - LLAMA3_LOW) / (LLAMA3_HIGH - LLAMA3_LOW), 0, 1)
        if np.allclose(divisors, 1 / (ramp + (1 - ramp) / factor), rtol=1e-3, atol=0):
            return factor
    raise UserError(
        f"{header.path}: the rotary scaling in '{ROPE_FACTORS}' is not that of Llama 3, so it is not supported."
    )
