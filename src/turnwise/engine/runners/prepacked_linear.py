"""Linear layers with weights laid out for decoding on CPUs.

A decoding step multiplies a few rows by every weight once and is limited by memory bandwidth. Weights in the published
layout, `(out, in)`, are repacked by the library at every call. Here this happens once: transposed for a single row, and
in oneDNN's blocked layout for several. It takes a second copy of the layers' weights. Measurements:
`docs/experiments.md`.
"""

import torch
from torch import Tensor, nn

from turnwise.models.decoder import Decoder

ROWS_HINT = 16  # number of rows that the blocked layout is chosen for


class PrepackedLinear(nn.Module):
    """Inference-only `nn.Linear`; equal up to rounding."""

    def __init__(self, weight_OI: Tensor, bias_O: Tensor | None) -> None:
        super().__init__()
        weight_OI = weight_OI.detach()
        self._single_row_IO = weight_OI.T.contiguous()
        self._blocked = torch.ops.mkldnn._reorder_linear_weight(weight_OI, ROWS_HINT)
        self._bias_O = None if bias_O is None else bias_O.detach()

    def forward(self, x: Tensor) -> Tensor:
        """`x @ weight.T + bias` for `x` of shape `(..., in)`."""
        rows_RI = x.reshape(-1, x.shape[-1])
        if len(rows_RI) == 1:
            out_RO = rows_RI @ self._single_row_IO
            if self._bias_O is not None:
                out_RO += self._bias_O
        else:
            out_RO = torch.ops.mkldnn._linear_pointwise(rows_RI, self._blocked, self._bias_O, "none", [], "")
        return out_RO.view(*x.shape[:-1], out_RO.shape[-1])


class InferenceRMSNorm(nn.Module):
    """RMSNorm with fewer operations than torch's, which takes a tenth of a small model's step."""

    def __init__(self, weight_C: Tensor, eps: float) -> None:
        super().__init__()
        self._weight_C = weight_C.detach()
        self._eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """`x / sqrt(mean(x²) + eps) * weight` over the last dimension."""
        scale = x.square().mean(dim=-1, keepdim=True).add_(self._eps).rsqrt_()
        return (x * scale).mul_(self._weight_C)


def prepack_for_decoding(decoder: Decoder, *, in_place: bool = False) -> Decoder:
    """A decoder with the same function and prepacked layers where they are faster (float32 on CPUs).

    Args:
        decoder: unchanged unless `in_place`.
        in_place: replace the layers of `decoder` itself and release each layer's original weights.
    """
    packed = decoder if in_place else _shallow_copy(decoder)
    weight = packed.embed.weight
    if weight.device.type != "cpu" or weight.dtype != torch.float32 or not torch._C._has_mkldnn:
        return packed.eval()
    head = weight if packed.head is None else packed.get_parameter("head.weight")
    packed.head = None
    for module in list(packed.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, PrepackedLinear(child.weight, child.bias))
            elif isinstance(child, nn.RMSNorm) and child.eps is not None:
                setattr(module, name, InferenceRMSNorm(child.weight, child.eps))
    packed.head = PrepackedLinear(head, None)
    return packed.eval()


def _shallow_copy(decoder: Decoder) -> Decoder:
    """A decoder that shares the weights and whose modules can be replaced."""
    with torch.device("meta"):
        shallow = Decoder(decoder.config)
    shallow.load_state_dict({name: tensor.detach() for name, tensor in decoder.state_dict().items()}, assign=True)
    shallow.rope = decoder.rope
    return shallow
