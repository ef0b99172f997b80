"""What brings chats forward: prompts in, one step for all running chats, logits out.

Two do the same: the compiled library, on processors it was compiled for, and torch everywhere else.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from turnwise.core.errors import InvalidParameter
from turnwise.core.ports import Quantize
from turnwise.engine.native.library import library
from turnwise.engine.native.runner import NativeRunner, supports
from turnwise.engine.torch_runner import TorchRunner
from turnwise.models.checkpoint import auto_dtype
from turnwise.models.decoder import Decoder


class Runner(Protocol):
    """A decoder with a cache of some slots. Shapes: B chats, R tokens, C hidden size, V vocabulary."""

    kind: str  # its arithmetic: two of one kind give the same bits

    def enter(self) -> None:
        """Called once by the thread that is going to call the rest."""

    def prefill(self, slots: Sequence[int], prompts: Sequence[Sequence[int]]) -> Tensor:
        """Read prompts into their slots; the logits after the last token of each, `(B, V)`."""

    def read(self, slot: int, ids: Sequence[int], *, hidden: bool = False) -> Iterator[Tensor]:
        """Read one prompt into its slot, a part at a time: the logits after each token, `(R, V)`, all in order.

        With `hidden`, the last hidden states instead, `(R, C)`, which go into the product that gives logits.
        """

    def decode(self, ids: Sequence[int], lengths: Sequence[int]) -> Tensor:
        """One token further in the first B slots; the logits after it, `(B, V)`.

        Args:
            ids: the last token of each chat, not yet in the cache.
            lengths: tokens in the cache of each.
        """

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of a slot over another."""

    def clear(self, slot: int) -> None:
        """Forget what a slot holds, numbers that overflowed among it."""


def preferred_dtype(device: str) -> torch.dtype:
    """The type of weights to load where nobody says: what loses nothing where the library computes, else the quickest.

    The library reads weights as bfloat16 wherever that is exact (`native/weights.py`), so float32 costs it no time.
    """
    return torch.float32 if device == "cpu" and library() is not None else auto_dtype(torch.device(device))


def make_runner(decoder: Decoder, slots: int, quantize: Quantize | None = None) -> Runner:
    """The quickest runner there is for this decoder on this machine; `decoder` itself is left as it is.

    Args:
        decoder: the model.
        slots: most chats at once.
        quantize: "int8" or "int4" rounds the weights to so many bits, to read less memory at every step.

    Raises:
        InvalidParameter: `quantize` where torch would do the work, which has no arithmetic for it.
    """
    if supports(decoder):
        return NativeRunner(decoder, slots, quantize=quantize)
    if quantize is None:
        return TorchRunner(decoder, slots)
    if decoder.embed.weight.device.type != "cpu":
        raise InvalidParameter("quantize", "Weights are quantized on processors only: say device cpu, or leave it out.")
    if library() is None:
        raise InvalidParameter(
            "quantize",
            "Quantized weights need the compiled library, which is not here or not for this processor: "
            "install again with a C++ compiler at hand, or leave it out.",
        )
    raise InvalidParameter(
        "quantize",
        f"A model with a hidden size of {decoder.config.hidden_size} and heads of {decoder.config.head_dim} cannot be "
        "quantized, since no vectors of the compiled library divide them: leave it out.",
    )
