"""The trainable layer of LoRA and DoRA: a frozen linear layer and a low-rank update of its matrix.

LoRA (Hu et al. 2021): y = W x + s B A x + b. DoRA (Liu et al. 2024): y = m / ‖W + s B A‖ · (W x + s B A x) + b, with
one norm and one magnitude m per row; the norm gets no gradient (section 4.3).

Shapes: O outputs, I inputs, R rank.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LoraLinear(nn.Module):
    """A frozen linear layer with a trainable low-rank update.

    Attributes:
        base_layer: `nn.Linear`, `QuantizedLinear`, or the `Conv1D` of transformers, which stores its matrix transposed.
        scaling: s = alpha / R.
        lora_A: `(R, I)`, random.
        lora_B: `(O, R)`, zero, so that training begins with the base model.
        magnitude: m, `(O)`, at first the norms of W's rows; None for LoRA.
    """

    magnitude: nn.Parameter | None

    def __init__(self, base_layer: Any, rank: int, alpha: float, dropout: float, *, dora: bool) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.is_transposed = not isinstance(base_layer, nn.Linear)
        self.scaling = alpha / rank
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        weight_OI = self.base_weight()
        self.lora_A = nn.Parameter(torch.empty(rank, weight_OI.shape[1], device=weight_OI.device))
        self.lora_B = nn.Parameter(torch.zeros(weight_OI.shape[0], rank, device=weight_OI.device))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))  # uniform within ± 1/√I
        self.magnitude = nn.Parameter(torch.empty(len(weight_OI), device=weight_OI.device)) if dora else None
        self.reset_magnitude()

    @property
    def weight(self) -> Tensor:
        """W as `base_layer` stores it; modules of transformers read the dtype of their layers' weights."""
        weight: Tensor = self.base_layer.weight
        return weight

    def base_weight(self) -> Tensor:
        """W, `(O, I)`."""
        return self.weight.T if self.is_transposed else self.weight

    def forward(self, x: Tensor) -> Tensor:
        """y, `(..., O)`, from x, `(..., I)`."""
        base: Tensor = self.base_layer(x)
        down = F.linear(self.dropout(x), self.lora_A)
        if self.magnitude is not None:
            bias = self.base_layer.bias
            product = base if bias is None else base - bias
            scaled = (product + self.scaling * F.linear(down, self.lora_B)) * (self.magnitude / self._row_norms())
            return scaled.to(base.dtype) if bias is None else (scaled + bias).to(base.dtype)
        # One fused operation: separate ones write a tensor as large as the output twice more.
        flat = torch.addmm(base.flatten(0, -2), down.flatten(0, -2), self.lora_B.T, alpha=self.scaling)
        return flat.view_as(base)

    @torch.no_grad()
    def reset_magnitude(self) -> None:
        """Set the magnitudes to the norms of the present rows, so that the layer computes (W + s B A) x + b."""
        if self.magnitude is not None:
            self.magnitude.copy_(self._row_norms())

    @torch.no_grad()
    def _row_norms(self) -> Tensor:
        norms_O: Tensor = (self.base_weight().float() + self.scaling * self.lora_B @ self.lora_A).norm(dim=1)
        return norms_O
