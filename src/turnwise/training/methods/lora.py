"""Low-rank adapters: beside every matrix, which stays, a product of two thin ones learns (Hu et al. 2021, LoRA).

With `dora` each row's length learns apart from its direction (Liu et al. 2024, DoRA); with `quantize` the matrices that
stay are kept in 8 or 4 bits while training (Dettmers et al. 2023, QLoRA). What comes out is an adapter of a few
megabytes for its base, in the layout of the peft library, which also does the work here.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from turnwise.core.errors import InvalidParameter
from turnwise.core.ports import Quantization
from turnwise.models.adapter_config import is_adapter
from turnwise.models.adapters import LoraWeights, save_adapter
from turnwise.models.checkpoint import DecoderModel
from turnwise.models.decoder import Decoder
from turnwise.models.families import family
from turnwise.models.language_model import LanguageModel, ModelKind
from turnwise.models.quantization import QuantizedLinear
from turnwise.models.transformers_model import TransformersModel, block_matrices, peft
from turnwise.training import method
from turnwise.training.export import export_folder
from turnwise.training.model_bundle import ModelBundle

TASKS: dict[ModelKind, str] = {"decoder": "CAUSAL_LM", "encoder_decoder": "SEQ_2_SEQ_LM", "encoder": ""}  # peft's names
ADAPTER = "default"  # what peft calls an adapter that nobody named


class Method(method.Method):
    """How large the thin matrices are, and where they stand.

    Attributes:
        rank: their inner size.
        alpha: the change is multiplied by alpha / rank; left out: twice the rank.
        dropout: on what goes into them, while training.
        dora: whether the rows' lengths learn apart.
        quantize: "int8" or "int4" keeps the base so while training.
        targets: patterns of the names of the modules that get one, such as "*attention*"; all linear layers otherwise.
    """

    INTERPOLATABLE: ClassVar[bool] = False
    SAVES_WEIGHTS: ClassVar[bool] = False
    SUMMARY: ClassVar[str] = "thin matrices learn beside the others (an adapter)"

    rank: int = Field(16, ge=1)
    alpha: float | None = Field(None, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    dora: bool = False
    quantize: Quantization | None = None
    targets: list[str] = Field(default_factory=list)

    def prepare(self, base: ModelBundle, seed: int) -> ModelBundle:
        """Freeze the model and put adapters beside its linear layers."""
        library = peft("The method 'lora'")
        if base.folder is None:
            raise InvalidParameter("method", "The method 'lora' adapts a model that is there: a new one learns 'full'.")
        if is_adapter(base.folder):
            raise InvalidParameter(
                "method",
                f"{base.folder} is an adapter itself, and an adapter of an adapter could not be opened. Make it whole "
                f"first: turnwise merge {base.folder} --out FOLDER",
            )
        module = base.model.module
        names = self._targets(module)
        if self.quantize is not None:
            for name in names:
                _replace(module, name, QuantizedLinear(_linear(module, name), 8 if self.quantize == "int8" else 4))
        config = library.LoraConfig(
            r=self.rank, lora_alpha=self._alpha, lora_dropout=self.dropout, use_dora=self.dora, target_modules=names
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            library.inject_adapter_in_model(config, module)
        return base

    @property
    def _alpha(self) -> float:
        return 2.0 * self.rank if self.alpha is None else self.alpha

    def _targets(self, module: nn.Module) -> list[str]:
        inner = {id(parameter) for parameter in block_matrices(module)}
        names = [
            name
            for name, part in module.named_modules()
            if isinstance(getattr(part, "weight", None), Tensor) and id(part.weight) in inner
        ]
        chosen = [n for n in names if not self.targets or any(fnmatchcase(n, pattern) for pattern in self.targets)]
        if not chosen:
            some = ", ".join(names[:4])
            raise InvalidParameter("method.targets", f"No linear layer is called {self.targets}; there are {some}, …")
        return chosen

    def plain(self, model: LanguageModel) -> LanguageModel:
        """A copy with the changes in its matrices."""
        module = copy.deepcopy(model.module)
        for name, layer in list(_adapted(module)):
            plain = _ordinary(layer.get_base_layer())
            rows = isinstance(plain, nn.Linear)  # GPT-2's own layers keep columns
            with torch.no_grad():
                changed = _change(layer).of(layer.weight if rows else layer.weight.T, self._scale)
                plain.weight = nn.Parameter(changed if rows else changed.T.contiguous())
            _replace(module, name, plain)
        if isinstance(model, DecoderModel):
            return DecoderModel(cast(Decoder, module), model.hf_config)
        return replace(cast(TransformersModel, model), module=module)

    @property
    def _scale(self) -> float:
        return self._alpha / self.rank

    def save(
        self,
        target: Path,
        base: ModelBundle,
        files: Mapping[str, str | Path],
        dtype: torch.dtype | None = None,  # noqa: ARG002, an adapter is small and stays as it was learned
    ) -> None:
        """Write the adapter, beside its base's tokenizer."""
        assert base.folder is not None, "prepared with one"
        changes, transposed = self._published(base.model)
        with export_folder(target, base.tokenizer, generation=base.generation, files=files) as folder:
            save_adapter(
                folder, changes, base=base.folder, rank=self.rank, alpha=self._alpha, dropout=self.dropout,
                kind=TASKS[base.model.kind], transposed=transposed,
            )  # fmt: skip

    def _published(self, model: LanguageModel) -> tuple[dict[str, LoraWeights], bool]:
        """The changes by the published names of what they change, and whether those are transposed."""
        found = {name: _change(layer) for name, layer in _adapted(model.module)}
        if not isinstance(model, DecoderModel):
            return found, not isinstance(_linear(model.module, next(iter(found))), nn.Linear)
        config = model.decoder.config
        changes: dict[str, LoraWeights] = {}
        transposed = False
        for entry in family(config.family).weight_mappings(config):
            ours = entry.decoder_name.removesuffix(".weight")
            if not entry.decoder_name.endswith(".weight") or ours not in found:
                continue
            whole, transposed = found[ours], entry.transposed
            # What are several matrices in the file share A, and have their rows of B.
            ups = torch.split(whole.up, list(entry.sizes or whole.up.shape[:1]))
            lengths: Sequence[Tensor | None] = [None] * len(ups)
            if whole.magnitude is not None:
                lengths = torch.split(whole.magnitude, list(entry.sizes or whole.magnitude.shape))
            for name, up, length in zip(entry.hf_names, ups, lengths, strict=True):
                changes[name.removesuffix(".weight")] = LoraWeights(whole.down, up, length)
        return changes, transposed


def _adapted(module: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, part in module.named_modules():
        if hasattr(part, "lora_A") and hasattr(part, "base_layer"):
            yield name, part


def _change(layer: Any) -> LoraWeights:
    lengths = layer.lora_magnitude_vector[ADAPTER].weight if ADAPTER in layer.lora_magnitude_vector else None
    return LoraWeights(layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight, lengths)


def _linear(module: nn.Module, name: str) -> Any:
    found: Any = module.get_submodule(name)
    return found.get_base_layer() if hasattr(found, "get_base_layer") else found


def _replace(module: nn.Module, name: str, part: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, part)


def _ordinary(layer: Any) -> Any:
    """A layer of the same shape and bias, whose weight is to be set."""
    if not isinstance(layer, QuantizedLinear):
        return copy.copy(layer)
    plain = nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta")
    plain.bias = layer.bias
    return plain
