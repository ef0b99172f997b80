"""Where a runner gets a decoder's weights from: a checkpoint that is read tensor by tensor, or a decoder in memory."""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from turnwise.models.decoder import Decoder
from turnwise.models.decoder_config import DecoderConfig


class DecoderWeights(Protocol):
    """A decoder's weights by the names of our parameters, such as "layers.0.attention.qkv.weight".

    A runner asks for one after the other and converts it to its own layout, so that no second copy of the model is
    ever in memory.
    """

    @property
    def config(self) -> DecoderConfig:
        """The shape of the decoder."""

    @property
    def dtype(self) -> torch.dtype:
        """The type to compute with; tensors that are stored in another are rounded to it."""

    @property
    def device(self) -> torch.device:
        """Where to compute."""

    @property
    def shapes(self) -> Mapping[str, torch.Size]:
        """The shape of every tensor."""

    @property
    def is_temporary(self) -> bool:
        """Whether `decoder()` makes a new decoder, which the caller may take apart."""

    def stored_dtype(self, name: str) -> torch.dtype:
        """The type of what `tensor` returns, without reading it."""

    def tensor(self, name: str) -> Tensor:
        """One tensor as it is stored, not yet rounded to `dtype`."""

    def decoder(self) -> Decoder:
        """A decoder with all the weights, of type `dtype` and on `device`."""


class ModuleWeights:
    """The weights of a decoder in memory (a `DecoderWeights`); it is left as it is."""

    is_temporary = False

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._parameters = {name: parameter.detach() for name, parameter in decoder.named_parameters()}

    @property
    def config(self) -> DecoderConfig:
        """The shape of the decoder."""
        return self._decoder.config

    @property
    def dtype(self) -> torch.dtype:
        """The type of its embeddings."""
        return self._decoder.embed.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where its embeddings are."""
        return self._decoder.embed.weight.device

    @property
    def shapes(self) -> Mapping[str, torch.Size]:
        """The shape of every tensor."""
        return {name: tensor.shape for name, tensor in self._parameters.items()}

    def stored_dtype(self, name: str) -> torch.dtype:
        """The type of one tensor."""
        return self._parameters[name].dtype

    def tensor(self, name: str) -> Tensor:
        """One tensor, which is the decoder's own."""
        return self._parameters[name]

    def decoder(self) -> Decoder:
        """The decoder itself."""
        return self._decoder


def as_decoder_weights(source: Decoder | DecoderWeights) -> DecoderWeights:
    """The weights of either."""
    return ModuleWeights(source) if isinstance(source, Decoder) else source
