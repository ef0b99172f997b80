"""Second-order quantization of a matrix (GPTQ, Frantar et al. 2023), with groups of ggml's block formats.

Weights are rounded one input after the other. The error of each is compensated by the weights of later inputs, in
proportion to the inverse Hessian of the squared output error. The Hessian is the sum of x xᵀ over the inputs x of the
matrix, without a factor and without subtracting their mean.
"""

import torch
from torch import Tensor

from turnwise.models.block_quantization import BlockFormat, GroupGrid, fit_grid, pack_blocks
from turnwise.models.quantization import GROUP
from turnwise.models.quantized_blocks import QuantizedBlocks

DAMPING = 0.02  # added to the diagonal, relative to its mean
BLOCK_SIZE = 128  # inputs between updates of all later weights (blocks of the paper); a multiple of GROUP


@torch.no_grad()
def gptq_matrix(weight_OI: Tensor, hessian_II: Tensor, block_format: BlockFormat) -> QuantizedBlocks:
    """Quantize a matrix so that its outputs change little.

    Args:
        weight_OI: the matrix; I is a multiple of 32.
        hessian_II: sum of x xᵀ over inputs x.
        block_format: the format.
    """
    weight_OI = weight_OI.float().clone()
    outputs, inputs = weight_OI.shape
    diagonal_I = hessian_II.diagonal().clone()
    importance_I = diagonal_I.clamp_min(1e-8 * float(diagonal_I.mean()) + 1e-30)
    inverse_II = _inverse_factor(hessian_II)
    integers_OI = torch.empty(outputs, inputs)
    scale_OG, minimum_OG = torch.empty(outputs, inputs // GROUP), torch.empty(outputs, inputs // GROUP)
    max_integer = 0
    for start in range(0, inputs, BLOCK_SIZE):
        stop = min(start + BLOCK_SIZE, inputs)
        columns_OL, factor_LL = weight_OI[:, start:stop], inverse_II[start:stop, start:stop]
        errors_OL = torch.empty_like(columns_OL)
        for i in range(stop - start):
            if i % GROUP == 0:
                group = (start + i) // GROUP
                group_OGN = columns_OL[:, None, i : i + GROUP]
                importance_GN = importance_I[None, start + i : start + i + GROUP]
                grid_O1 = fit_grid(group_OGN, block_format, importance_GN)
                max_integer = grid_O1.max_integer
                grid = GroupGrid(grid_O1.scale_OG[:, 0], grid_O1.minimum_OG[:, 0], max_integer)
                scale_OG[:, group], minimum_OG[:, group] = grid.scale_OG, grid.minimum_OG
            integers_O = grid.round(columns_OL[:, i])
            integers_OI[:, start + i] = integers_O
            error_O = (columns_OL[:, i] - grid.value(integers_O)) / factor_LL[i, i]
            columns_OL[:, i + 1 :].addr_(error_O, factor_LL[i, i + 1 :], alpha=-1)
            errors_OL[:, i] = error_O
        weight_OI[:, stop:].addmm_(errors_OL, inverse_II[start:stop, stop:], alpha=-1)
    return pack_blocks(integers_OI, GroupGrid(scale_OG, minimum_OG, max_integer), block_format)


def _inverse_factor(hessian_II: Tensor) -> Tensor:
    """The upper Cholesky factor of the inverse of the damped Hessian."""
    damped_II = hessian_II.double() if len(hessian_II) <= 2048 else hessian_II.clone()
    diagonal = damped_II.diagonal()
    diagonal += DAMPING * diagonal.mean() + 1e-12
    factor, failed = torch.linalg.cholesky_ex(damped_II)
    while failed:
        diagonal += 0.1 * diagonal.mean()
        factor, failed = torch.linalg.cholesky_ex(damped_II)
    inverse_II = torch.cholesky_inverse(factor)
    upper_II: Tensor = torch.linalg.cholesky(inverse_II, upper=True)
    return upper_II.float()
