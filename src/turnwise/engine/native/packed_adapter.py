"""An adapter's thin matrices laid out for the compiled library, beside a base that is there once."""

import ctypes
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from turnwise.engine.native import library
from turnwise.engine.native.packer import Packer
from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.lora_factors import LoraFactors

LORA_TARGETS = ("attention.qkv", "attention.out", "mlp.up", "mlp.down")  # of a layer, in the library's order


class PackedAdapter(Packer):
    """The library's `(layers, places)` of changes, and the memory that they point to.

    Attributes:
        ranks: the most that a matrix has, filled up to whole vectors.
        pointer: where the structures lie.
    """

    def __init__(self, thin: Mapping[str, LoraFactors], config: DecoderConfig, panel: int, width: int) -> None:
        super().__init__(panel)
        self._width = width
        self._gated = config.gated_mlp
        names = [f"layers.{number}.{place}" for number in range(config.num_layers) for place in LORA_TARGETS]
        assert thin.keys() <= set(names), "the engine asks `only_layers` before"
        structures = self.keep((library.Thin * len(names))())
        for number, name in enumerate(names):
            if name in thin:
                structures[number] = self._thin(thin[name], interleaved=self._gated and name.endswith("mlp.up"))
        self.ranks = max(structure.ranks for structure in structures)
        self.pointer = ctypes.addressof(structures)

    def _thin(self, change: LoraFactors, *, interleaved: bool) -> library.Thin:
        missing = -len(change.down_RI) % self._width
        down_RI, up_OR = pad(change.down_RI, (0, 0, 0, missing)), pad(change.up_OR, (0, missing))
        down_by_width = down_RI.view(-1, self._width, down_RI.shape[1]).transpose(1, 2)
        factor_O1 = None if change.dora_scale_O is None else change.dora_scale_O[:, None]
        lay = self.alternating if interleaved else self.padded
        up_OR = lay(up_OR)
        return library.Thin(
            down=self.floats(down_by_width),
            up=self.address(self.in_panels(up_OR)),
            factor=None if factor_O1 is None else self.floats(lay(factor_O1)),
            ranges=self.address(self._ranges(up_OR)),
            ranks=len(down_RI),
        )

    def _ranges(self, up_OR: Tensor) -> NDArray[np.int32]:
        """Of every panel the first rank that is not zero and the end of the last: joined matrices have own ones."""
        used_PR = (up_OR != 0).view(-1, self._panel, up_OR.shape[1]).any(dim=1).numpy()
        ranks = np.arange(1, used_PR.shape[1] + 1)
        ends = (used_PR * ranks).max(axis=1)
        firsts = np.where(used_PR.any(axis=1), used_PR.argmax(axis=1), 0)
        return np.stack([firsts, ends], axis=1).astype(np.int32)
