"""Weights as whole numbers with scales, and a linear layer that keeps its own so.

Shapes: O outputs, I inputs, G groups of inputs.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GROUP = 32  # inputs that share a scale of 4 bits
SCALE_CANDIDATES = (
    7.0,
    8.0,
    9.0,
)  # numbers that the furthest weight of a group may become: fewer steps, or it is cut off


def quantize_weight(weight_OI: Tensor, bits: int, group: int) -> tuple[Tensor, Tensor]:
    """Whole numbers and scales with `weight = (whole - 2 ** (bits - 1)) * scale`, as nearly as `bits` allow.

    Returns `(O, I)` of uint8 and `(O, G)` of float32: one scale for every output, or with 4 bits one for every group of
    inputs, exact in bfloat16.
    """
    outputs, inputs = weight_OI.shape
    whole = torch.empty(outputs, inputs, dtype=torch.uint8)
    scales = torch.empty(outputs, 1 if bits == 8 else inputs // group)
    rows = max(1, 2**19 // inputs)  # at a time, so that the numbers stay in the processor's cache
    for start in range(0, outputs, rows):
        part = weight_OI[start : start + rows].reshape(-1, scales.shape[1], inputs // scales.shape[1])
        numbers, scale = _eight_bits(part) if bits == 8 else _four_bits(part)
        whole[start : start + rows] = numbers.view(-1, inputs)
        scales[start : start + rows] = scale[..., 0]
    return whole, scales


def _eight_bits(weight_OGI: Tensor) -> tuple[Tensor, Tensor]:
    scale = weight_OGI.abs().amax(-1, keepdim=True) / 127
    return (weight_OGI * _factor(scale)).round_().add_(128).clamp_(1, 255).byte(), scale


def _four_bits(weight_OGI: Tensor) -> tuple[Tensor, Tensor]:
    """From -8 to 7, the furthest weight being negative; of a few fitted scales the one of least squared error."""
    low, high = weight_OGI.amin(-1, keepdim=True), weight_OGI.amax(-1, keepdim=True)
    furthest = torch.where(-low > high, low, high)
    best, least = torch.zeros_like(furthest), torch.full_like(furthest, torch.inf)
    for reach in SCALE_CANDIDATES:
        numbers = _four(weight_OGI, furthest / -reach)
        fitted = (weight_OGI * numbers).sum(-1, keepdim=True) * _factor(numbers.square_().sum(-1, keepdim=True))
        scale = fitted.bfloat16().float()
        error = _four(weight_OGI, scale).mul_(scale).sub_(weight_OGI).square_().sum(-1, keepdim=True)
        better = error < least
        best, least = torch.where(better, scale, best), torch.where(better, error, least)
    return _four(weight_OGI, best).add_(8).byte(), best


def _four(weight_OGI: Tensor, scale: Tensor) -> Tensor:
    return (weight_OGI * _factor(scale)).round_().clamp_(-8, 7)


def _factor(scale: Tensor) -> Tensor:
    return torch.where(scale == 0, 0.0, 1 / scale)


def dequantize_weight(whole_OI: Tensor, scales_OG: Tensor, bits: int) -> Tensor:
    """The weights that whole numbers and scales stand for, `(O, I)` float32."""
    outputs, inputs = whole_OI.shape
    centred = whole_OI.view(outputs, scales_OG.shape[1], -1).float() - float(1 << (bits - 1))
    return (centred * scales_OG.unsqueeze(-1)).view(outputs, inputs)


class _Product(torch.autograd.Function):
    """x W, with W made anew for the way back: kept as floats, it would take the memory that whole numbers save."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: "QuantizedLinear") -> Tensor:
        ctx.layer = layer
        return F.linear(x, layer.weight.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (grad,) = grads
        return grad @ ctx.layer.weight.to(grad.dtype), None


class QuantizedLinear(nn.Linear):
    """A linear layer whose weights do not learn and are kept as whole numbers (after Dettmers et al. 2023, QLoRA)."""

    whole: Tensor
    scales: Tensor

    def __init__(self, layer: nn.Linear, bits: int) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features, self.bits = layer.in_features, layer.out_features, bits
        group = GROUP if layer.in_features % GROUP == 0 else layer.in_features
        whole, scales = quantize_weight(layer.weight.detach().float(), bits, group)
        if bits == 4 and layer.in_features % 2 == 0:
            whole = whole[:, ::2] + 16 * whole[:, 1::2]
        self.register_buffer("whole", whole, persistent=False)
        self.register_buffer("scales", scales, persistent=False)
        self.bias = layer.bias
        if self.bias is not None:
            self.bias.requires_grad_(False)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The weights as floats, `(O, I)`, made anew at every look."""
        whole = self.whole
        if whole.shape[1] != self.in_features:
            whole = torch.stack((whole & 15, whole >> 4), dim=-1).view(self.out_features, self.in_features)
        return dequantize_weight(whole, self.scales, self.bits)

    def forward(self, x: Tensor) -> Tensor:
        """x W + b."""
        out: Tensor = _Product.apply(x, self)  # type: ignore[no-untyped-call]
        return out if self.bias is None else out + self.bias
