"""Sources of a decoder's weights for runners: a checkpoint that is read tensor by tensor, or a decoder in memory."""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from turnwise.models.decoder import Decoder
from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.quantized_blocks import QuantizedBlocks


class DecoderWeights(Protocol):
    """The weights of a decoder by parameter name, such as "layers.0.attention.qkv.weight".

    A runner reads one tensor after the other and converts it to its own layout, so that there is never a second copy of
    the model in memory.
    """

    @property
    def config(self) -> DecoderConfig:
        """The config of the decoder."""

    @property
    def dtype(self) -> torch.dtype:
        """The dtype to compute with; tensors stored in another dtype are rounded to it."""

    @property
    def device(self) -> torch.device:
        """The device to compute on."""

    @property
    def shapes(self) -> Mapping[str, torch.Size]:
        """Shapes of all tensors."""

    @property
    def is_temporary(self) -> bool:
        """True if `decoder()` creates a new decoder, which the caller may modify."""

    def stored_dtype(self, name: str) -> torch.dtype:
        """The dtype that `tensor` returns, without reading the tensor."""

    def tensor(self, name: str) -> Tensor:
        """One tensor in its stored dtype."""

    def block_formats(self, name: str) -> tuple[str, ...] | None:
        """Formats of the blocks that `quantized` returns, without reading them, or None."""

    def quantized(self, name: str) -> tuple[QuantizedBlocks, ...] | None:
        """The blocks of the matrices that this tensor is stacked from, as they are in a GGUF file.

        None if one of them is not in a block format, or if the weights are not used as they are stored.
        """

    def decoder(self) -> Decoder:
        """A decoder with all weights, in `dtype` on `device`."""


class ModuleWeights:
    """The weights of a decoder in memory, which is not modified (implements `DecoderWeights`)."""

    is_temporary = False

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._parameters = {name: parameter.detach() for name, parameter in decoder.named_parameters()}

    @property
    def config(self) -> DecoderConfig:
        """The config of the decoder."""
        return self._decoder.config

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the token embedding."""
        return self._decoder.embed.weight.dtype

    @property
    def device(self) -> torch.device:
        """The device of the token embedding."""
        return self._decoder.embed.weight.device

    @property
    def shapes(self) -> Mapping[str, torch.Size]:
        """Shapes of all tensors."""
        return {name: tensor.shape for name, tensor in self._parameters.items()}

    def stored_dtype(self, name: str) -> torch.dtype:
        """The dtype of one tensor."""
        return self._parameters[name].dtype

    def tensor(self, name: str) -> Tensor:
        """One tensor, shared with the decoder."""
        return self._parameters[name]

    def block_formats(self, name: str) -> None:
        """None: the weights are floats."""

    def quantized(self, name: str) -> None:
        """None: the weights are floats."""

    def decoder(self) -> Decoder:
        """The decoder itself."""
        return self._decoder


def as_decoder_weights(source: Decoder | DecoderWeights) -> DecoderWeights:
    """Wrap a decoder as `DecoderWeights`; weights are returned as they are."""
    return ModuleWeights(source) if isinstance(source, Decoder) else source
