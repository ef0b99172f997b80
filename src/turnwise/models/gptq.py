"""Second-order quantization of a matrix (GPTQ, Frantar et al. 2023), with groups of ggml's block formats.

Weights are rounded one input after the other. The error of each is compensated by the weights of later inputs, in
proportion to the inverse Hessian of the squared output error. The Hessian is the sum of x xᵀ over the inputs x of the
matrix, without a factor and without subtracting their mean.
"""

import torch
from torch import Tensor

from turnwise.core.errors import UserError
from turnwise.models.block_quantization import BlockFormat, GroupGrid, check_finite, fit_grid, pack_blocks
from turnwise.models.quantization import GROUP
from turnwise.models.quantized_blocks import QuantizedBlocks

DAMPING = 0.02  # added to the diagonal, relative to its mean
MORE_DAMPING = 0.1  # added as long as the factorization fails
MAX_ATTEMPTS = 20  # of the factorization; the mean of the diagonal has then grown by a factor of 6 or 7
BLOCK_SIZE = 128  # inputs between updates of all later weights (blocks of the paper); a multiple of GROUP


@torch.no_grad()
def gptq_matrix(
    weight_OI: Tensor, hessian_II: Tensor, block_format: BlockFormat, name: str = "The matrix"
) -> QuantizedBlocks:
    """Quantize a matrix so that its outputs change little.

    Args:
        weight_OI: the matrix; I is a multiple of 32.
        hessian_II: sum of x xᵀ over inputs x.
        block_format: the format.
        name: name of the matrix, for errors.

    Raises:
        UserError: a weight or the Hessian is not finite, or the Hessian is not positive semidefinite.
    """
    check_finite(weight_OI, name)
    if not hessian_II.isfinite().all():
        raise UserError(f"{name} has inputs that are not finite numbers or too large, so it cannot be quantized.")
    weight_OI = weight_OI.float().clone()
    outputs, inputs = weight_OI.shape
    diagonal_I = hessian_II.diagonal().clone()
    importance_I = diagonal_I.clamp_min(1e-8 * float(diagonal_I.mean()) + 1e-30)
    inverse_II = _inverse_factor(hessian_II, name)
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


def _inverse_factor(hessian_II: Tensor, name: str) -> Tensor:
    """The upper Cholesky factor of the inverse of the damped Hessian. Rounding errors may require more damping."""
    damped_II = hessian_II.double() if len(hessian_II) <= 2048 else hessian_II.clone()
    diagonal = damped_II.diagonal()
    diagonal += DAMPING * diagonal.mean() + 1e-12
    for _ in range(MAX_ATTEMPTS):
        factor_II, failed = torch.linalg.cholesky_ex(damped_II)
        if not failed:
            upper_II, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(factor_II), upper=True)
        if not failed:
            inverse_factor_II: Tensor = upper_II.float()
            if inverse_factor_II.isfinite().all():
                return inverse_factor_II
        diagonal += MORE_DAMPING * diagonal.mean()
    raise UserError(f"{name} has inputs whose Hessian cannot be inverted; quantize it without calibration.")
