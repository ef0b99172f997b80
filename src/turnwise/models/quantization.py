"""8- and 4-bit quantization of weight matrices, and a frozen linear layer with quantized weights.

Shapes: O outputs, I inputs, G groups of inputs.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GROUP = 32  # inputs that share a scale of 4-bit weights
# Integers that the largest weight of a group maps to in 4 bits, where the limit is 8: 7 gives coarser steps, 9 gives
# finer steps and clips that weight.
SCALE_CANDIDATES = (7.0, 8.0, 9.0)
MAX_HALF = 65504.0  # largest float16
CHUNK_ELEMENTS = 2**19  # quantized at a time, so that intermediate results stay in the processor's cache


def quantize_weight(weight_OI: Tensor, bits: int, group: int) -> tuple[Tensor, Tensor]:
    """Quantize a matrix so that `weight ≈ (quantized - 2 ** (bits - 1)) * scale`.

    Args:
        weight_OI: the matrix, float32.
        bits: 8 or 4.
        group: inputs that share a scale of 4-bit weights; divides I.

    Returns:
        The integers `(O, I)` as uint8, and the scales as float32: with 8 bits `(O, 1)`, with 4 bits `(O, G)` and exact
        in float16, as in ggml's format Q4_0.
    """
    outputs, inputs = weight_OI.shape
    quantized_OI = torch.empty(outputs, inputs, dtype=torch.uint8)
    scales_OG = torch.empty(outputs, 1 if bits == 8 else inputs // group)
    num_groups = scales_OG.shape[1]
    chunk_rows = max(1, CHUNK_ELEMENTS // inputs)
    for start in range(0, outputs, chunk_rows):
        rows = slice(start, start + chunk_rows)
        chunk_OGI = weight_OI[rows].reshape(-1, num_groups, inputs // num_groups)
        chunk_quantized, chunk_scales_OG1 = _quantize_8bit(chunk_OGI) if bits == 8 else _quantize_4bit(chunk_OGI)
        quantized_OI[rows] = chunk_quantized.view(-1, inputs)
        scales_OG[rows] = chunk_scales_OG1[..., 0]
    return quantized_OI, scales_OG


def _quantize_8bit(weight_OGI: Tensor) -> tuple[Tensor, Tensor]:
    """Symmetric: the largest magnitude maps to 127."""
    scale_OG1 = weight_OGI.abs().amax(-1, keepdim=True) / 127
    return (weight_OGI * _reciprocal(scale_OG1)).round_().add_(128).clamp_(1, 255).byte(), scale_OG1


def _quantize_4bit(weight_OGI: Tensor) -> tuple[Tensor, Tensor]:
    """From -8 to 7, with the weight of largest magnitude on the negative side, which has one step more.

    Each candidate scale is refitted by least squares to the integers it gives; the one with the least squared error is
    used.
    """
    largest_OG1 = largest_magnitude(weight_OGI)
    best_scale, least_error = torch.zeros_like(largest_OG1), torch.full_like(largest_OG1, torch.inf)
    for candidate in SCALE_CANDIDATES:
        integers = _round_4bit(weight_OGI, largest_OG1 / -candidate)
        products = (weight_OGI * integers).sum(-1, keepdim=True)
        fitted = products * _reciprocal(integers.square_().sum(-1, keepdim=True))
        scale = round_to_half(fitted)
        error = _round_4bit(weight_OGI, scale).mul_(scale).sub_(weight_OGI).square_().sum(-1, keepdim=True)
        is_better = error < least_error
        best_scale, least_error = torch.where(is_better, scale, best_scale), torch.where(is_better, error, least_error)
    return _round_4bit(weight_OGI, best_scale).add_(8).byte(), best_scale


def largest_magnitude(weight_OGI: Tensor) -> Tensor:
    """The weight of largest magnitude of every group, with its sign, `(O, G, 1)`."""
    min_OG1, max_OG1 = weight_OGI.amin(-1, keepdim=True), weight_OGI.amax(-1, keepdim=True)
    return torch.where(-min_OG1 > max_OG1, min_OG1, max_OG1)


def round_to_half(x: Tensor) -> Tensor:
    """The nearest float16 numbers, as float32; numbers beyond their range become the largest of them."""
    return x.clamp(-MAX_HALF, MAX_HALF).half().float()


def _round_4bit(weight_OGI: Tensor, scale_OG1: Tensor) -> Tensor:
    return (weight_OGI * _reciprocal(scale_OG1)).round_().clamp_(-8, 7)


def _reciprocal(scale: Tensor) -> Tensor:
    """1 / scale, and 0 for a group of zeros."""
    return torch.where(scale == 0, 0.0, 1 / scale)


def dequantize_weight(quantized_OI: Tensor, scales_OG: Tensor, bits: int) -> Tensor:
    """The matrix `(O, I)` that integers and scales represent, in float32."""
    outputs, inputs = quantized_OI.shape
    centred_OGI = quantized_OI.view(outputs, scales_OG.shape[1], -1).float() - float(1 << (bits - 1))
    return (centred_OGI * scales_OG.unsqueeze(-1)).view(outputs, inputs)


class _DequantizedLinear(torch.autograd.Function):
    """x W, with W dequantized again in the backward pass: saved as floats, it would take the memory that was saved."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: "QuantizedLinear") -> Tensor:
        ctx.layer = layer
        return F.linear(x, layer.weight.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (grad,) = grads
        return grad @ ctx.layer.weight.to(grad.dtype), None


class QuantizedLinear(nn.Linear):
    """A frozen linear layer with quantized weights, for training LoRA weights beside it (QLoRA, Dettmers et al. 2023).

    Buffers: `quantized`, `(O, I)` bytes or with 4 bits `(O, I / 2)`, two weights per byte; `scales`, `(O, G)`.
    """

    quantized: Tensor
    scales: Tensor

    def __init__(self, layer: nn.Linear, bits: int) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features, self.bits = layer.in_features, layer.out_features, bits
        group = GROUP if layer.in_features % GROUP == 0 else layer.in_features
        quantized, scales = quantize_weight(layer.weight.detach().float(), bits, group)
        if bits == 4 and layer.in_features % 2 == 0:
            quantized = quantized[:, ::2] + 16 * quantized[:, 1::2]
        self.register_buffer("quantized", quantized, persistent=False)
        self.register_buffer("scales", scales, persistent=False)
        self.bias = layer.bias
        if self.bias is not None:
            self.bias.requires_grad_(False)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The weights `(O, I)` as float32, dequantized at every access."""
        quantized = self.quantized
        if quantized.shape[1] != self.in_features:
            quantized = torch.stack((quantized & 15, quantized >> 4), dim=-1).view(self.out_features, self.in_features)
        return dequantize_weight(quantized, self.scales, self.bits)

    def forward(self, x: Tensor) -> Tensor:
        """x W + b."""
        out: Tensor = _DequantizedLinear.apply(x, self)  # type: ignore[no-untyped-call]
        return out if self.bias is None else out + self.bias
