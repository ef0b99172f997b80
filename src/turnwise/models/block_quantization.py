"""Quantizes weights to ggml's block formats Q8_0, Q4_0 and Q4_1: groups of 32 inputs with a float16 scale, and in Q4_1
a minimum.

The scale, and the minimum of Q4_1, are fitted by least squares to the integers they give, starting from several ranges.

Shapes: O outputs, I inputs, G groups, N = 32 inputs of a group.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from turnwise.core.errors import UserError
from turnwise.models.quantization import GROUP, largest_magnitude, round_to_half
from turnwise.models.quantized_blocks import QuantizedBlocks

BlockFormat = Literal["Q8_0", "Q4_0", "Q4_1"]
# Integers that the weight of largest magnitude maps to in Q4_0, where the limit is 8: 7 gives coarser steps, 9 gives
# finer steps and clips that weight.
SYMMETRIC_RANGES = (7.0, 7.5, 8.0, 8.5, 9.0)
AFFINE_RANGES = (1.0, 0.95, 0.9, 0.85, 0.8)  # shares of the range of a group in Q4_1; weights beyond it are clipped


@dataclass(frozen=True, slots=True)
class GroupGrid:
    """The values that weights can have: `integer * scale + minimum` of their group, integers from 0 to `max_integer`.

    Attributes:
        scale_OG: scales, exact in float16.
        minimum_OG: minimums; those of symmetric formats follow from the scale.
        max_integer: largest integer.
    """

    scale_OG: Tensor
    minimum_OG: Tensor
    max_integer: int

    def round(self, weight_OG: Tensor) -> Tensor:
        """The nearest integers, as float32, for one weight of every group."""
        reciprocal = torch.where(self.scale_OG == 0, 0.0, 1 / self.scale_OG)
        return ((weight_OG - self.minimum_OG) * reciprocal).round_().clamp_(0, self.max_integer)

    def value(self, integer_OG: Tensor) -> Tensor:
        """The weights that integers stand for."""
        return integer_OG * self.scale_OG + self.minimum_OG


def fit_grid(weight_OGN: Tensor, block_format: BlockFormat, importance_GN: Tensor | None = None) -> GroupGrid:
    """The grid of every group with the least squared error.

    Args:
        weight_OGN: weights, float32.
        block_format: the format.
        importance_GN: factors of the squared errors of the inputs. Default: 1.
    """
    importance = torch.ones(1, 1, 1) if importance_GN is None else importance_GN[None]
    importance = importance.expand(1, *weight_OGN.shape[1:])
    if block_format == "Q8_0":
        scale_OG = round_to_half(weight_OGN.abs().amax(-1) / 127)
        return GroupGrid(scale_OG, -128 * scale_OG, 255)
    if block_format == "Q4_0":
        return _fit_symmetric(weight_OGN, importance)
    return _fit_affine(weight_OGN, importance)


def _fit_symmetric(weight_OGN: Tensor, importance: Tensor) -> GroupGrid:
    """Integers from -8 to 7, with the weight of largest magnitude on the negative side, which has one step more."""
    largest_OG = largest_magnitude(weight_OGN)[..., 0]
    candidates = []
    for limit in SYMMETRIC_RANGES:
        first_OG = largest_OG / -limit
        centred_OGN = GroupGrid(first_OG[..., None], -8 * first_OG[..., None], 15).round(weight_OGN) - 8
        products = (importance * weight_OGN * centred_OGN).sum(-1)
        squares = (importance * centred_OGN.square()).sum(-1)
        scale_OG = round_to_half(torch.where(squares > 0, products / squares, 0.0))
        candidates.append(GroupGrid(scale_OG, -8 * scale_OG, 15))
    return _best(weight_OGN, importance, candidates)


def _fit_affine(weight_OGN: Tensor, importance: Tensor) -> GroupGrid:
    """Integers from 0 to 15 and a minimum: the line through (integer, weight) of every group."""
    low_OG, high_OG = weight_OGN.amin(-1), weight_OGN.amax(-1)
    candidates = []
    for share in AFFINE_RANGES:
        scale_OG = (high_OG - low_OG) * share / 15
        minimum_OG = low_OG + (high_OG - low_OG) * (1 - share) / 2
        integers_OGN = GroupGrid(scale_OG[..., None], minimum_OG[..., None], 15).round(weight_OGN)
        total = importance.sum(-1)
        mean_q = (importance * integers_OGN).sum(-1) / total
        mean_w = (importance * weight_OGN).sum(-1) / total
        covariance = (importance * integers_OGN * weight_OGN).sum(-1) / total - mean_q * mean_w
        variance = (importance * integers_OGN.square()).sum(-1) / total - mean_q.square()
        slope_OG = round_to_half(torch.where(variance > 1e-6, covariance / variance, 0.0))
        candidates.append(GroupGrid(slope_OG, round_to_half(mean_w - slope_OG * mean_q), 15))
    return _best(weight_OGN, importance, candidates)


def _best(weight_OGN: Tensor, importance: Tensor, candidates: list[GroupGrid]) -> GroupGrid:
    """For every group, the candidate with the least squared error."""
    best, least_OG = candidates[0], torch.full(weight_OGN.shape[:-1], torch.inf)
    for grid in candidates:
        expanded = GroupGrid(grid.scale_OG[..., None], grid.minimum_OG[..., None], grid.max_integer)
        error_OG = (importance * (expanded.value(expanded.round(weight_OGN)) - weight_OGN).square()).sum(-1)
        is_better = error_OG < least_OG
        scale_OG = torch.where(is_better, grid.scale_OG, best.scale_OG)
        best = GroupGrid(scale_OG, torch.where(is_better, grid.minimum_OG, best.minimum_OG), grid.max_integer)
        least_OG = torch.where(is_better, error_OG, least_OG)
    return best


def pack_blocks(integers_OI: Tensor, grid: GroupGrid, block_format: BlockFormat) -> QuantizedBlocks:
    """Blocks of ggml from integers on a grid.

    Args:
        integers_OI: integers from 0 to the format's maximum.
        grid: the grid of all groups, `(O, G)`.
        block_format: the format.
    """
    outputs, inputs = integers_OI.shape
    integers_OGN = integers_OI.to(torch.uint8).numpy().reshape(outputs, -1, GROUP)
    columns: list[NDArray[Any]] = [_half_bytes(grid.scale_OG)]
    if block_format == "Q4_1":
        columns.append(_half_bytes(grid.minimum_OG))
    if block_format == "Q8_0":
        columns.append(integers_OGN ^ 128)  # subtracts 128: signed bytes
    else:
        columns.append(integers_OGN[..., :16] | integers_OGN[..., 16:] << 4)
    return QuantizedBlocks(block_format, inputs, np.concatenate(columns, axis=-1).reshape(outputs, -1))


def _half_bytes(values_OG: Tensor) -> NDArray[np.uint8]:
    halves: NDArray[np.uint8] = values_OG.contiguous().half().view(torch.uint8).numpy().reshape(*values_OG.shape, 2)
    return halves


def check_finite(weight_OI: Tensor, name: str) -> None:
    """Raise `UserError` if a weight of the matrix `name` is infinite or not a number."""
    if not weight_OI.isfinite().all():
        raise UserError(f"{name} has weights that are not finite numbers, so it cannot be quantized.")


def quantize_matrix(weight_OI: Tensor, block_format: BlockFormat, name: str = "The matrix") -> QuantizedBlocks:
    """Quantize a matrix to the nearest values of its best grids.

    Args:
        weight_OI: the matrix; I is a multiple of 32.
        block_format: the format.
        name: name of the matrix, for errors.

    Raises:
        UserError: a weight is not finite.
    """
    check_finite(weight_OI, name)
    weight_OGN = weight_OI.float().view(len(weight_OI), -1, GROUP)
    grid = fit_grid(weight_OGN, block_format)
    integers = GroupGrid(grid.scale_OG[..., None], grid.minimum_OG[..., None], grid.max_integer).round(weight_OGN)
    return pack_blocks(integers.flatten(1), grid, block_format)
