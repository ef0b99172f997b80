"""Interface of a model runner: one forward pass over a batch of sequences. And the choice of a runner.

Two runners compute our decoder: the compiled library on CPUs that it supports, and torch everywhere else.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from turnwise.core.errors import InvalidParameter
from turnwise.core.inference import Quantization
from turnwise.engine.batch import BatchEntry
from turnwise.engine.native.library import library
from turnwise.engine.native.native_runner import NativeRunner, is_supported
from turnwise.engine.runners.torch_runner import TorchRunner
from turnwise.models.decoder import Decoder
from turnwise.models.decoder_weights import DecoderWeights, as_decoder_weights
from turnwise.models.dtypes import auto_dtype
from turnwise.models.lora_factors import LoraFactors


class ModelRunner(Protocol):
    """A model with a KV cache in blocks.

    Shapes: R output tokens of the batch, C hidden size, V vocabulary.

    Attributes:
        kind: id of its arithmetic; runners with the same id give the same bits.
        batch_invariant: True if a sequence's outputs are the same to the last bit in every batch and with every
            division into chunks.
    """

    kind: str
    batch_invariant: bool

    def enter(self) -> None:
        """Called once, by the thread that calls the other methods."""

    def forward(self, batch: Sequence[BatchEntry], *, return_hidden: bool = False) -> Tensor:
        """Compute the new tokens of all entries and write their keys and values.

        Returns the logits `(R, V)` of each entry's output tokens, entry by entry; with `return_hidden` the last hidden
        states `(R, C)` instead, which `logits` turns into logits.
        """

    def logits(self, hidden_RC: Tensor) -> Tensor:
        """Logits `(R, V)` from last hidden states."""

    def load_lora(self, name: str, factors: Mapping[str, LoraFactors]) -> bool:
        """Register an adapter for entries with this name; False if unmerged adapters are not supported."""

    def unload_lora(self, name: str) -> None:
        """Free an adapter that no entry names any more."""

    def copy(self, source: int, target: int) -> None:
        """Copy the content of a block over another."""

    def clear(self, blocks: Sequence[int]) -> None:
        """Set blocks to zero after non-finite values."""


def preferred_dtype(device: str) -> torch.dtype:
    """The default dtype: float32 where the compiled library computes, else the fastest of the device.

    The library stores weights as bfloat16 wherever that is exact (`native/packed_model.py`), so float32 costs no time.
    """
    return torch.float32 if device == "cpu" and library() is not None else auto_dtype(torch.device(device))


def make_runner(
    decoder: Decoder | DecoderWeights, num_blocks: int, quantize: Quantization | None = None
) -> ModelRunner:
    """The fastest runner for this decoder on this machine.

    Args:
        decoder: the model in memory, which stays unchanged, or its weights, which are read one by one.
        num_blocks: size of the KV cache.
        quantize: quantize the weights to "int8" or "int4", so that each step reads less memory.

    Raises:
        InvalidParameter: `quantize` is given and the compiled library cannot run this model here.
    """
    weights = as_decoder_weights(decoder)
    if is_supported(weights):
        return NativeRunner(weights, num_blocks, quantize=quantize)
    if quantize is None:
        return TorchRunner(weights, num_blocks)
    if weights.device.type != "cpu":
        raise InvalidParameter(
            "quantize", "Quantization is supported on CPUs only: use --device cpu, or omit --quantize."
        )
    if library() is None:
        raise InvalidParameter(
            "quantize",
            "Quantization needs the compiled library, which is missing or does not support this processor: "
            "reinstall with a C++ compiler, or omit --quantize.",
        )
    raise InvalidParameter(
        "quantize",
        f"A model with hidden size {weights.config.hidden_size} and head size {weights.config.head_dim} cannot be "
        "quantized: both must be multiples of the compiled library's vector size. Omit --quantize.",
    )
