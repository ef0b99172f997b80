"""Rotary position embeddings (Su et al. 2021).

Shapes: B sequences, T tokens, H heads, D head size, P positions.
"""

import math

import torch
from torch import Tensor, nn

from turnwise.models.decoder_config import RopeConfig

INITIAL_POSITIONS = 32_768  # rows of the tables; they grow when a longer context is used


class RotaryEmbedding(nn.Module):
    """Tables of cosines and sines by position.

    Args:
        config: frequencies and their scaling.
        head_dim: size of a head.
        max_positions: maximum context length.
    """

    cos_PD: Tensor
    sin_PD: Tensor

    def __init__(self, config: RopeConfig, head_dim: int, max_positions: int) -> None:
        super().__init__()
        self._config, self._head_dim, self._max_positions = config, head_dim, max_positions
        cos_PD, sin_PD = rope_tables(config, head_dim, min(max_positions, INITIAL_POSITIONS))
        self.register_buffer("cos_PD", cos_PD, persistent=False)
        self.register_buffer("sin_PD", sin_PD, persistent=False)

    def forward(self, positions_BT: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosines and sines of these positions, `(B, 1, T, D)`."""
        # The maximum is computed only while the tables may grow: on a GPU it waits for the device.
        if len(self.cos_PD) < self._max_positions and len(self.cos_PD) <= (last := int(positions_BT.max())):
            length = min(self._max_positions, 2 * last)  # doubled, so that growing is rare
            tables = rope_tables(self._config, self._head_dim, length)
            self.cos_PD, self.sin_PD = (table.to(self.cos_PD.device) for table in tables)
        return self.cos_PD[positions_BT].unsqueeze(1).to(dtype), self.sin_PD[positions_BT].unsqueeze(1).to(dtype)


def rope_tables(config: RopeConfig, head_dim: int, num_positions: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the first positions, `(P, D)` each, in float32.

    Always on the CPU: a model is built on the meta device before loading, but these tables are computed, not loaded.
    """
    with torch.inference_mode(False):  # tables computed during generation may be used in training
        positions_P = torch.arange(num_positions, dtype=torch.float32, device="cpu")
        angles_PD = torch.outer(positions_P, _frequencies(config, head_dim)).repeat(1, 2)
        return angles_PD.cos(), angles_PD.sin()


def rope_divisors(config: RopeConfig, head_dim: int) -> Tensor:
    """The D / 2 numbers that the frequencies without scaling are divided by."""
    return _frequencies(RopeConfig(config.theta), head_dim) / _frequencies(config, head_dim)


def _frequencies(config: RopeConfig, head_dim: int) -> Tensor:
    """The D / 2 frequencies, scaled by `config.rope_type`."""
    unscaled = config.theta ** -(torch.arange(0, head_dim, 2, dtype=torch.float32, device="cpu") / head_dim)
    if config.rope_type == "default":
        return unscaled
    if config.rope_type == "linear":
        return unscaled / config.factor
    # llama3: by the number of rotations within the original context. Frequencies with fewer than `low_freq_factor` are
    # divided by `factor`, those with more than `high_freq_factor` stay, and those between are interpolated.
    rotations = config.original_max_positions * unscaled / (2 * math.pi)
    ramp = (rotations - config.low_freq_factor) / (config.high_freq_factor - config.low_freq_factor)
    ramp = ramp.clamp(0, 1)
    return unscaled * ramp + unscaled / config.factor * (1 - ramp)


def apply_rope(x_BHTD: Tensor, cos_sin: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate the first half of each head's dimensions against the second, as in transformers' checkpoints."""
    cos, sin = cos_sin
    first, second = x_BHTD.chunk(2, dim=-1)
    return x_BHTD * cos + torch.cat((-second, first), dim=-1) * sin
