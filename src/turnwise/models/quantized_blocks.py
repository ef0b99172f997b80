"""Rows of a matrix in a block format of ggml, such as Q4_0, as they are in a GGUF file.

Formats: https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

# Formats that the `gguf` package decodes.
BLOCK_FORMATS = (
    "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "TQ1_0", "TQ2_0", "MXFP4", "NVFP4",
    "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_NL", "IQ4_XS",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class QuantizedBlocks:
    """Rows of a matrix; each row is a sequence of blocks of its inputs.

    Attributes:
        format: name of the format in ggml: "Q4_0", "Q6_K" …
        inputs: number of weights in a row.
        blocks_OB: bytes of the rows, `(outputs, bytes per row)`.
    """

    format: str
    inputs: int
    blocks_OB: NDArray[np.uint8]

    @property
    def outputs(self) -> int:
        """Number of rows."""
        return len(self.blocks_OB)

    def select_rows(self, rows: Sequence[int] | NDArray[np.int64]) -> "QuantizedBlocks":
        """These rows, in this order."""
        return replace(self, blocks_OB=self.blocks_OB[np.asarray(rows, dtype=np.int64)])

    def dequantize(self) -> NDArray[np.float32]:
        """The weights `(outputs, inputs)`."""
        import gguf

        block_format = gguf.GGMLQuantizationType[self.format]
        with np.errstate(all="ignore"):  # the scales of a damaged block may be infinite
            weights_OI: NDArray[np.float32] = gguf.quants.dequantize(self.blocks_OB, block_format)
        return weights_OI
