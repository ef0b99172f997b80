"""The weights of an encoder by name, read from a Hugging Face folder or created at random.

Names are those of `weight_shapes`, such as "layers.0.qkv.weight". Queries, keys and values are stacked in one matrix.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from turnwise.core.errors import UserError
from turnwise.models.adapter_config import is_adapter
from turnwise.models.adapters import load_adapter
from turnwise.models.encoder_config import EncoderConfig, read_encoder_config
from turnwise.models.tensor_files import TensorFiles

PREFIXES = ("", "bert.", "roberta.")  # of the tensors, by the class that saved the model
WORD_EMBEDDINGS, POSITION_EMBEDDINGS, TYPE_EMBEDDINGS = (
    f"embeddings.{name}_embeddings.weight" for name in ("word", "position", "token_type")
)
NORM = "LayerNorm"
LAYER_MODULES = {  # our name: modules of the checkpoint that are stacked
    "qkv": tuple(f"attention.self.{name}" for name in ("query", "key", "value")),
    "out": ("attention.output.dense",),
    "attention_norm": (f"attention.output.{NORM}",),
    "up": ("intermediate.dense",),
    "down": ("output.dense",),
    "mlp_norm": (f"output.{NORM}",),
}


class EncoderWeights(Protocol):
    """The weights of an encoder."""

    @property
    def config(self) -> EncoderConfig:
        """Sizes and switches."""

    def tensor(self, name: str) -> Tensor:
        """A weight as it is stored. "position.weight" starts at the first position and includes token type 0."""


def weight_shapes(config: EncoderConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of all weights by name."""
    C, F = config.hidden_size, config.intermediate_size
    shapes: dict[str, tuple[int, ...]] = {
        "embed.weight": (config.vocab_size, C), "position.weight": (config.num_positions, C),
        "embed_norm.weight": (C,), "embed_norm.bias": (C,),
    }  # fmt: skip
    for number in range(config.num_layers):
        for name, shape in {
            "qkv": (3 * C, C), "out": (C, C), "attention_norm": (C,), "up": (F, C), "down": (C, F), "mlp_norm": (C,),
        }.items():  # fmt: skip
            shapes[f"layers.{number}.{name}.weight"] = shape
            shapes[f"layers.{number}.{name}.bias"] = shape[:1]
    return shapes


def encoder_hf_modules(name: str) -> tuple[str, ...]:
    """The modules of a checkpoint that a module of a layer is stacked from, such as "layers.0.qkv"."""
    _, number, module = name.split(".")
    return tuple(f"encoder.layer.{number}.{submodule}" for submodule in LAYER_MODULES[module])


class EncoderCheckpoint:
    """An encoder in a Hugging Face folder, whose weights are read one by one (implements `EncoderWeights`).

    A LoRA adapter is merged into the weights of its base model while they are read.

    Raises:
        ModelNotFound: the folder has no model or no weights, or the base model of an adapter does not exist.
        UserError: the architecture or a setting is not supported; a tensor is missing or has another shape than the
            config says; an adapter does not fit its base model.
    """

    def __init__(self, folder: Path) -> None:
        adapter = load_adapter(folder) if is_adapter(folder) else None
        if adapter is not None:
            folder = adapter.base
        self.config = read_encoder_config(folder)
        self._files = TensorFiles(folder)
        self._prefix = next((prefix for prefix in PREFIXES if self._has_embeddings(prefix)), "")
        self._read: Callable[[str], Tensor] = self._read_stored
        if adapter is not None:
            names = [
                f"layers.{number}.{module}.weight"
                for number in range(self.config.num_layers)
                for module in LAYER_MODULES
            ]
            adapter.reject_unknown_modules([stored_name for name in names for stored_name in _stored_names(name)])
            self._read = adapter.merging_reader(self._read_stored)
        try:
            for name, shape in weight_shapes(self.config).items():
                self._check_shape(name, shape)
        except UserError as error:
            raise UserError(f"{folder}: {error}") from error

    def _has_embeddings(self, prefix: str) -> bool:
        try:
            self._files.header(prefix + WORD_EMBEDDINGS)
        except UserError:
            return False
        return True

    def _check_shape(self, name: str, shape: tuple[int, ...]) -> None:
        config, stacked = self.config, _stored_names(name)
        expected = (shape[0] // len(stacked), *shape[1:])
        if name == "position.weight":
            expected = (config.num_positions + config.first_position, config.hidden_size)
            if config.has_token_types:
                types = self._files.header(self._prefix + TYPE_EMBEDDINGS).shape
                if len(types) != 2 or types[0] < 1 or types[1] != config.hidden_size:
                    raise UserError(f"the embedding of token types has the shape {types}.")
        for stored_name in stacked:
            if (stored := self._files.header(self._prefix + stored_name).shape) != expected:
                raise UserError(f"'{stored_name}' has the shape {stored}, but config.json says {expected}.")

    def _read_stored(self, name: str) -> Tensor:
        return self._files.get(self._prefix + name)

    def tensor(self, name: str) -> Tensor:
        """A weight; see `EncoderWeights`."""
        parts = [self._read(stored_name) for stored_name in _stored_names(name)]
        weight = torch.cat(parts) if len(parts) > 1 else parts[0]
        if name == "position.weight":
            weight = weight[self.config.first_position :].float()
            if self.config.has_token_types:
                weight = weight + self._read_stored(TYPE_EMBEDDINGS)[0].float()
        return weight


def _stored_names(name: str) -> list[str]:
    """Names of the tensors that a weight is stacked from, without the prefix of the class."""
    module, _, suffix = name.rpartition(".")
    if module in ("embed", "position"):
        return [{"embed": WORD_EMBEDDINGS, "position": POSITION_EMBEDDINGS}[module]]
    if module == "embed_norm":
        return [f"embeddings.{NORM}.{suffix}"]
    return [f"{stored_module}.{suffix}" for stored_module in encoder_hf_modules(module)]


def hf_tensors(config: EncoderConfig, weights: Mapping[str, Tensor], num_token_types: int) -> dict[str, Tensor]:
    """The tensors of a Hugging Face checkpoint (`BertModel`), the inverse of `EncoderCheckpoint.tensor`.

    Args:
        config: sizes and switches.
        weights: the weights by our names.
        num_token_types: rows of the embedding of token types. They are 0, because the position embedding includes
            type 0.
    """
    position = weights["position.weight"]
    before = position.new_zeros(config.first_position, config.hidden_size)
    tensors = {
        "embeddings.word_embeddings.weight": weights["embed.weight"],
        "embeddings.position_embeddings.weight": torch.cat((before, position)),
        f"embeddings.{NORM}.weight": weights["embed_norm.weight"],
        f"embeddings.{NORM}.bias": weights["embed_norm.bias"],
    }
    if config.has_token_types:
        types = position.new_zeros(num_token_types, config.hidden_size)
        tensors["embeddings.token_type_embeddings.weight"] = types
    for number in range(config.num_layers):
        for name, modules in LAYER_MODULES.items():
            for suffix in ("weight", "bias"):
                matrices = weights[f"layers.{number}.{name}.{suffix}"].chunk(len(modules))
                for module, matrix in zip(modules, matrices, strict=True):
                    tensors[f"encoder.layer.{number}.{module}.{suffix}"] = matrix.contiguous()
    return tensors


class RandomEncoderWeights:
    """Random weights (implements `EncoderWeights`); the same seed gives the same weights."""

    def __init__(self, config: EncoderConfig, seed: int = 0) -> None:
        self.config = config
        generator = torch.Generator().manual_seed(seed)
        self._tensors: dict[str, Tensor] = {
            name: torch.randn(shape, generator=generator) * shape[-1] ** -0.5 + ("norm.weight" in name)
            for name, shape in weight_shapes(config).items()
        }

    def tensor(self, name: str) -> Tensor:
        """A weight; see `EncoderWeights`."""
        return self._tensors[name]
