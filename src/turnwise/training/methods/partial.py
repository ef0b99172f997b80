"""Partial fine-tuning: some of the weights learn, the others stay as they are."""

from fnmatch import fnmatchcase
from typing import ClassVar, Literal

from pydantic import Field, model_validator
from torch import nn

from turnwise.core.errors import InvalidParameter
from turnwise.models.checkpoint import DecoderModel
from turnwise.models.families import family
from turnwise.models.language_model import LanguageModel
from turnwise.training import method
from turnwise.training.model_bundle import ModelBundle


class Method(method.Method):
    """Which weights learn; several options add up.

    Attributes:
        last: so many layers at the end of the decoder (or of the encoder, where there is no decoder).
        part: "decoder" (of an encoder–decoder), or "head", the scores over the vocabulary and the norm before them.
        names: patterns such as "model.layers.5.*", of the names that weights have in the model's files.
    """

    SUMMARY: ClassVar[str] = "some weights learn, the others stay"

    last: int | None = Field(None, ge=1)
    part: Literal["decoder", "head"] | None = None
    names: list[str] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _default(cls, values: object) -> object:
        """Said alone, the last two layers."""
        return values or {"last": 2}

    def prepare(self, base: ModelBundle, seed: int) -> ModelBundle:  # noqa: ARG002
        """Freeze all that is not named."""
        module = base.model.module
        learning = self._learning(base.model)
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name in learning)
        return base

    def _learning(self, model: LanguageModel) -> set[str]:
        names = [name for name, _ in model.module.named_parameters()]
        found: set[str] = set()
        if self.last is not None:
            found |= set(_of_last_layers(model, self.last))
        if self.part == "head":
            found |= set(_of_head(model.module))
        if self.part == "decoder":
            if model.kind != "encoder_decoder":
                raise InvalidParameter("method.part", "The part 'decoder' is for encoder–decoder models: leave it out.")
            found |= {name for name in names if name.startswith(("decoder.", "model.decoder."))}
        published = _published_names(model)
        for pattern in self.names:
            hit = {ours for ours, theirs in published.items() if any(fnmatchcase(name, pattern) for name in theirs)}
            if not hit:
                some = sorted(name for theirs in published.values() for name in theirs)
                raise InvalidParameter(
                    "method.names", f"No weight is called '{pattern}'; there are {', '.join(some[:6])}, …"
                )
            for ours in hit:
                if left := [name for name in published[ours] if not fnmatchcase(name, pattern)]:
                    raise InvalidParameter(
                        "method.names",
                        f"'{pattern}' names some of {', '.join(published[ours])}, which are one matrix here and learn "
                        f"together: name {', '.join(left)} too, with one pattern.",
                    )
            found |= hit
        return found


def _of_last_layers(model: LanguageModel, count: int) -> list[str]:
    stacks = [(name, part) for name, part in model.module.named_modules() if isinstance(part, nn.ModuleList)]
    outer = [(n, p) for n, p in stacks if not any(n.startswith(f"{other}.") for other, _ in stacks)]
    if model.kind == "encoder_decoder":
        outer = [(name, part) for name, part in outer if "decoder" in name]
    name, stack = max(outer, key=lambda found: len(found[1]))
    if count > len(stack):
        raise InvalidParameter("method.last", f"'last' is {count}, but the model has {len(stack)} layers.")
    wanted = tuple(f"{name}.{i}." for i in range(len(stack) - count, len(stack)))
    return [parameter for parameter, _ in model.module.named_parameters() if parameter.startswith(wanted)]


def _of_head(module: nn.Module) -> list[str]:
    """The matrix before the scores, which may be that of the embeddings, and the last norm."""
    names = [name for name, _ in module.named_parameters()]
    heads = [name for name in names if name.startswith(("head.", "lm_head.", "cls.", "embed_out.", "final_logits"))]
    if not heads:
        heads = [name for name in names if name.endswith(("embed.weight", "shared.weight", "embed_tokens.weight"))][:1]
    norms = [
        n for n in names if n.startswith(("norm.", "model.norm.", "transformer.ln_f.", "decoder.final_layer_norm."))
    ]
    return [*heads, *norms]


def _published_names(model: LanguageModel) -> dict[str, tuple[str, ...]]:
    """Our name of every weight, and those it has in the model's files."""
    if isinstance(model, DecoderModel):
        config = model.decoder.config
        return {entry.decoder_name: entry.hf_names for entry in family(config.family).weight_mappings(config)}
    return {name: (name,) for name, _ in model.module.named_parameters()}
