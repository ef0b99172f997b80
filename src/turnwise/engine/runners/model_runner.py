"""What brings chats forward: new tokens of any chats in, one pass, logits out.

Two do the same: the compiled library, on processors it was compiled for, and torch everywhere else.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from turnwise.core.errors import InvalidParameter
from turnwise.core.ports import Quantization
from turnwise.engine.batch import BatchEntry
from turnwise.engine.native.library import library
from turnwise.engine.native.native_runner import NativeRunner, is_supported
from turnwise.engine.runners.torch_runner import TorchRunner
from turnwise.models.checkpoint import auto_dtype
from turnwise.models.decoder import Decoder
from turnwise.models.decoder_weights import DecoderWeights, as_decoder_weights
from turnwise.models.lora_factors import LoraFactors


class ModelRunner(Protocol):
    """A decoder with a cache of some blocks. Shapes: R rows that are wanted, C hidden size, V vocabulary."""

    kind: str  # its arithmetic: two of one kind give the same bits
    batch_invariant: (
        bool  # whether a line's numbers are the same, to the last bit, in any company and however it is read
    )

    def enter(self) -> None:
        """Called once by the thread that is going to call the rest."""

    def forward(self, spans: Sequence[BatchEntry], *, hidden: bool = False) -> Tensor:
        """Read every span's tokens; the logits after those that are wanted, `(R, V)`, span by span.

        With `hidden`, the last hidden states instead, `(R, C)`, which go into the product that gives logits.
        """

    def logits(self, hidden_RC: Tensor) -> Tensor:
        """The logits after last hidden states, `(R, V)`."""

    def load_lora(self, name: str, thin: Mapping[str, LoraFactors]) -> bool:
        """From now on compute spans of this adapter with these changes; False where it cannot."""

    def copy(self, source: int, target: int) -> None:
        """Copy a block's keys and values over another's."""

    def clear(self, blocks: Sequence[int]) -> None:
        """Forget what blocks hold, numbers that overflowed among it."""


def preferred_dtype(device: str) -> torch.dtype:
    """The type of weights to load where nobody says: what loses nothing where the library computes, else the quickest.

    The library reads weights as bfloat16 wherever that is exact (`native/weights.py`), so float32 costs it no time.
    """
    return torch.float32 if device == "cpu" and library() is not None else auto_dtype(torch.device(device))


def make_runner(decoder: Decoder | DecoderWeights, blocks: int, quantize: Quantization | None = None) -> ModelRunner:
    """The quickest runner there is for this decoder on this machine; a decoder in memory is left as it is.

    Args:
        decoder: the model, in memory or to be read weight by weight.
        blocks: of the cache.
        quantize: "int8" or "int4" rounds the weights to so many bits, to read less memory at every step.

    Raises:
        InvalidParameter: `quantize` where torch would do the work, which has no arithmetic for it.
    """
    weights = as_decoder_weights(decoder)
    if is_supported(weights):
        return NativeRunner(weights, blocks, quantize=quantize)
    if quantize is None:
        return TorchRunner(weights, blocks)
    if weights.device.type != "cpu":
        raise InvalidParameter("quantize", "Weights are quantized on processors only: say device cpu, or leave it out.")
    if library() is None:
        raise InvalidParameter(
            "quantize",
            "Quantized weights need the compiled library, which is not here or not for this processor: "
            "install again with a C++ compiler at hand, or leave it out.",
        )
    raise InvalidParameter(
        "quantize",
        f"A model with a hidden size of {weights.config.hidden_size} and heads of {weights.config.head_dim} cannot be "
        "quantized, since no vectors of the compiled library divide them: leave it out.",
    )
