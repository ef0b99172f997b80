"""LoRA factors in the layout of the compiled library, for adapters that are not merged into the base model.

Shapes: O outputs, I inputs, R rank padded to a multiple of the vector width, P panels.
"""

import ctypes
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from turnwise.engine.native.packer import Packer
from turnwise.engine.native.structs import LoraMatrix
from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.lora_factors import LoraFactors

LORA_TARGETS = ("attention.qkv", "attention.out", "mlp.up", "mlp.down")  # of a layer, in the order of LoraTarget


class PackedAdapter(Packer):
    """The library's `(num_layers, targets)` LoRA matrices and the memory that they point to.

    Attributes:
        max_rank: largest padded rank of the matrices.
        pointer: address of the structures.
    """

    def __init__(self, factors: Mapping[str, LoraFactors], config: DecoderConfig, panel: int, width: int) -> None:
        super().__init__(panel)
        self._width = width
        self._is_gated = config.gated_mlp
        names = [f"layers.{number}.{target}" for number in range(config.num_layers) for target in LORA_TARGETS]
        assert factors.keys() <= set(names), "callers check `changes_only_layers`"
        structures = self.retain((LoraMatrix * len(names))())
        for number, name in enumerate(names):
            if name in factors:
                is_gate_up = self._is_gated and name.endswith("mlp.up")
                structures[number] = self._lora_matrix(factors[name], is_gate_up=is_gate_up)
        self.max_rank = max(structure.rank for structure in structures)
        self.pointer = ctypes.addressof(structures)

    def _lora_matrix(self, factors: LoraFactors, *, is_gate_up: bool) -> LoraMatrix:
        padding = -len(factors.down_RI) % self._width
        down_RI, up_OR = pad(factors.down_RI, (0, 0, 0, padding)), pad(factors.up_OR, (0, padding))
        down_by_width = down_RI.view(-1, self._width, down_RI.shape[1]).transpose(1, 2)
        dora_scale_O1 = None if factors.dora_scale_O is None else factors.dora_scale_O[:, None]
        to_panel_rows = self.interleave_gate_up if is_gate_up else self.pad_rows
        up_OR = to_panel_rows(up_OR)
        return LoraMatrix(
            down=self.float_address(down_by_width),
            up=self.address(self.in_panels(up_OR)),
            dora_scale=None if dora_scale_O1 is None else self.float_address(to_panel_rows(dora_scale_O1)),
            nonzero_ranks=self.address(self._nonzero_ranks(up_OR)),
            rank=len(down_RI),
        )

    def _nonzero_ranks(self, up_OR: Tensor) -> NDArray[np.int32]:
        """First nonzero rank and end of the last, `(P, 2)`. In a joined matrix each part has ranks of its own."""
        is_nonzero_PR = (up_OR != 0).view(-1, self._panel, up_OR.shape[1]).any(dim=1).numpy()
        ranks = np.arange(1, is_nonzero_PR.shape[1] + 1)
        ends = (is_nonzero_PR * ranks).max(axis=1)
        firsts = np.where(is_nonzero_PR.any(axis=1), is_nonzero_PR.argmax(axis=1), 0)
        return np.stack([firsts, ends], axis=1).astype(np.int32)
