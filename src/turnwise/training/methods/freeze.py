"""Freeze: train some of the weights and freeze the others."""

from fnmatch import fnmatchcase
from typing import ClassVar, Literal

from pydantic import Field, model_validator
from torch import nn

from turnwise.core.errors import InvalidParameter
from turnwise.models.classifier import Classifier
from turnwise.models.decoder_model import DecoderModel
from turnwise.models.families import load_family
from turnwise.models.language_model import LanguageModel
from turnwise.training import method
from turnwise.training.model_bundle import ModelBundle


class FreezeMethod(method.Method):
    """Trains the union of the weights that the options select; default: the last two layers.

    Attributes:
        last_layers: number of last layers of the decoder, or of the encoder of an encoder-only model.
        module: "decoder" of an encoder–decoder model, or "head": output projection and final norm.
        parameters: patterns of parameter names in the model's files, such as "model.layers.5.*".
    """

    SUMMARY: ClassVar[str] = "train some weights, freeze the others"

    last_layers: int | None = Field(None, ge=1)
    module: Literal["decoder", "head"] | None = None
    parameters: list[str] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _default(cls, values: object) -> object:
        """Without options: the last two layers."""
        return values or {"last_layers": 2}

    def prepare(self, base: ModelBundle, seed: int) -> ModelBundle:  # noqa: ARG002
        """Freeze all weights that are not selected."""
        module = base.model.module
        trainable = self._trainable_names(base.model)
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name in trainable)
        return base

    def _trainable_names(self, model: LanguageModel) -> set[str]:
        names = [name for name, _ in model.module.named_parameters()]
        # The head of a classifier is new, so it is always trained.
        trainable = {name for name in names if isinstance(model, Classifier) and name.startswith("head.")}
        if self.last_layers is not None:
            trainable |= set(_last_layer_names(model, self.last_layers))
        if self.module == "head":
            trainable |= set(_head_names(model.module))
        if self.module == "decoder":
            if model.kind != "encoder_decoder":
                raise InvalidParameter("method.module", "'module: decoder' needs an encoder–decoder model.")
            trainable |= {name for name in names if name.startswith(("decoder.", "model.decoder."))}
        hf_names = _hf_names(model)
        for pattern in self.parameters:
            trainable |= _matching_names(pattern, hf_names)
        return trainable


def _matching_names(pattern: str, hf_names: dict[str, tuple[str, ...]]) -> set[str]:
    """Return the parameters whose names in the model's files match a pattern.

    Raises:
        InvalidParameter: no parameter matches, or only some of those that are one matrix here.
    """
    matches = {name for name, files in hf_names.items() if any(fnmatchcase(file, pattern) for file in files)}
    if not matches:
        examples = sorted(name for files in hf_names.values() for name in files)
        raise InvalidParameter(
            "method.parameters", f"No weight matches '{pattern}'; the model has {', '.join(examples[:6])}, …"
        )
    for name in matches:
        if missing := [file for file in hf_names[name] if not fnmatchcase(file, pattern)]:
            raise InvalidParameter(
                "method.parameters",
                f"'{pattern}' matches only some of {', '.join(hf_names[name])}, which are trained as one matrix: "
                f"use a pattern that also matches {', '.join(missing)}.",
            )
    return matches


def _last_layer_names(model: LanguageModel, count: int) -> list[str]:
    """Names of the parameters in the last `count` layers."""
    stacks = [(name, child) for name, child in model.module.named_modules() if isinstance(child, nn.ModuleList)]
    outer = [(n, stack) for n, stack in stacks if not any(n.startswith(f"{outer_name}.") for outer_name, _ in stacks)]
    if model.kind == "encoder_decoder":
        outer = [(name, stack) for name, stack in outer if "decoder" in name]
    name, stack = max(outer, key=lambda pair: len(pair[1]))
    if count > len(stack):
        raise InvalidParameter(
            "method.last_layers", f"'last_layers' is {count}, but the model has {len(stack)} layers."
        )
    prefixes = tuple(f"{name}.{i}." for i in range(len(stack) - count, len(stack)))
    return [parameter for parameter, _ in model.module.named_parameters() if parameter.startswith(prefixes)]


def _head_names(module: nn.Module) -> list[str]:
    """Names of the output projection (the embedding matrix if tied) and the final norm."""
    names = [name for name, _ in module.named_parameters()]
    heads = [name for name in names if name.startswith(("head.", "lm_head.", "cls.", "embed_out.", "final_logits"))]
    if not heads:
        heads = [name for name in names if name.endswith(("embed.weight", "shared.weight", "embed_tokens.weight"))][:1]
    norms = [
        n for n in names if n.startswith(("norm.", "model.norm.", "transformer.ln_f.", "decoder.final_layer_norm."))
    ]
    return [*heads, *norms]


def _hf_names(model: LanguageModel) -> dict[str, tuple[str, ...]]:
    """Parameter name here → its names in the model's files."""
    if isinstance(model, DecoderModel):
        config = model.decoder.config
        return {entry.decoder_name: entry.hf_names for entry in load_family(config.family).weight_mappings(config)}
    return {name: (name,) for name, _ in model.module.named_parameters()}
