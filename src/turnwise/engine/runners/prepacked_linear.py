"""Weights laid out for decoding on a processor.

A decoding step multiplies a few rows by every weight once, which is bound by how weights come out of memory. Stored as
published, `(out, in)`, the library repacks them at every call; here that is done once: transposed for a single row, and
in oneDNN's blocks for several. Costs a second copy of the layers' weights. See `docs/experiments.md` for figures.
"""

import torch
from torch import Tensor, nn

from turnwise.models.decoder import Decoder

ROWS_HINT = 16  # rows the blocked layout is chosen for


class PrepackedLinear(nn.Module):
    """A linear layer for inference; `forward` gives what `nn.Linear` gives, up to rounding."""

    def __init__(self, weight_OI: Tensor, bias_O: Tensor | None) -> None:
        super().__init__()
        weight_OI = weight_OI.detach()
        self._single_IO = weight_OI.T.contiguous()
        self._blocked = torch.ops.mkldnn._reorder_linear_weight(weight_OI, ROWS_HINT)
        self._bias_O = None if bias_O is None else bias_O.detach()

    def forward(self, x: Tensor) -> Tensor:
        """`x @ weight.T + bias` for `x` of shape `(..., in)`."""
        rows_RI = x.reshape(-1, x.shape[-1])
        if len(rows_RI) == 1:
            out_RO = rows_RI @ self._single_IO
            if self._bias_O is not None:
                out_RO += self._bias_O
        else:
            out_RO = torch.ops.mkldnn._linear_pointwise(rows_RI, self._blocked, self._bias_O, "none", [], "")
        return out_RO.view(*x.shape[:-1], out_RO.shape[-1])


class InferenceRMSNorm(nn.Module):
    """RMSNorm in fewer operations than torch's own, which takes a tenth of a small model's step."""

    def __init__(self, weight_C: Tensor, eps: float) -> None:
        super().__init__()
        self._weight_C = weight_C.detach()
        self._eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """`x / sqrt(mean(x²) + eps) * weight` over the last dimension."""
        scale = x.square().mean(dim=-1, keepdim=True).add_(self._eps).rsqrt_()
        return (x * scale).mul_(self._weight_C)


def prepack_for_decoding(decoder: Decoder, *, in_place: bool = False) -> Decoder:
    """A decoder that computes the same, packed where that is quicker.

    Args:
        decoder: left as it is, unless it is changed `in_place`: then each layer's former weights go as it is packed.
        in_place: change `decoder` itself.
    """
    packed = decoder if in_place else _twin(decoder)
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


def _twin(decoder: Decoder) -> Decoder:
    """A decoder with the same weights, whose modules can be replaced."""
    with torch.device("meta"):
        twin = Decoder(decoder.config)
    twin.load_state_dict({name: tensor.detach() for name, tensor in decoder.state_dict().items()}, assign=True)
    twin.rope = decoder.rope
    return twin
