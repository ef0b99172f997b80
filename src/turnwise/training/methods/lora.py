"""LoRA: freeze the weights and train a low-rank update of each linear layer (Hu et al. 2021).

With `dora` the magnitude of each weight row is trained separately from its direction (DoRA, Liu et al. 2024). With
`quantize` the frozen weights are held in 8 or 4 bits during training (QLoRA, Dettmers et al. 2023). The result is an
adapter of a few megabytes in the format of the peft library. An adapter may be the base model: its training continues.
The new head of a classifier is trained too, and stored in the folder of the adapter.
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
from turnwise.core.inference import Quantization
from turnwise.models.adapter_config import is_adapter
from turnwise.models.adapters import LoraWeights, save_adapter
from turnwise.models.classifier import Classifier
from turnwise.models.classifier_config import is_classifier
from turnwise.models.decoder import Decoder
from turnwise.models.decoder_model import DecoderModel
from turnwise.models.encoder_model import EncoderModel
from turnwise.models.encoder_weights import encoder_hf_modules
from turnwise.models.families import load_family
from turnwise.models.language_model import LanguageModel, ModelKind, block_matrices
from turnwise.models.lora_factors import LoraFactors, compute_lora_factors
from turnwise.models.lora_layer import LoraLinear
from turnwise.models.quantization import QuantizedLinear
from turnwise.models.trainable_encoder import TrainableEncoder
from turnwise.models.transformers_model import TransformersModel
from turnwise.training import method
from turnwise.training.export import export_folder
from turnwise.training.model_bundle import ModelBundle

TASKS: dict[ModelKind, str] = {
    "decoder": "CAUSAL_LM",
    "encoder_decoder": "SEQ_2_SEQ_LM",
    "encoder": "",
}  # peft's task types


class LoraMethod(method.Method):
    """LoRA, DoRA and QLoRA.

    Attributes:
        rank: rank of the update; at least that of an adapter whose training continues. Query, key and value are one
            matrix here, so separate factors of them add up.
        alpha: the update is scaled by alpha / rank; default: twice the rank.
        dropout: dropout on the adapter's input during training.
        dora: train row magnitudes separately (DoRA).
        quantize: "int8" or "int4": quantize the frozen weights during training.
        target_modules: patterns of module names to adapt, such as "*attention*"; default: all linear layers of the
            blocks.
    """

    CONTINUES_ADAPTERS: ClassVar[bool] = True
    INTERPOLATABLE: ClassVar[bool] = False
    SAVES_WEIGHTS: ClassVar[bool] = False
    SUMMARY: ClassVar[str] = "train a low-rank adapter, freeze the model"

    rank: int = Field(16, ge=1)
    alpha: float | None = Field(None, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    dora: bool = False
    quantize: Quantization | None = None
    target_modules: list[str] = Field(default_factory=list)

    def prepare(self, base: ModelBundle, seed: int) -> ModelBundle:
        """Freeze the model and add adapters to its linear layers."""
        if base.folder is None:
            raise InvalidParameter("method", "The method 'lora' needs an existing model; train a new one with 'full'.")
        if is_adapter(base.folder) and is_classifier(base.folder):
            raise InvalidParameter(
                "method", f"{base.folder} is a classifier with an adapter: train it further with the method 'full'."
            )
        if is_adapter(base.folder):
            raise InvalidParameter(
                "method", _merge_first(base.folder, "an adapter of a model that transformers computes")
            )
        if base.adapter is not None and any(w.magnitude is not None for w in base.adapter.weights.values()):
            raise InvalidParameter("method", _merge_first(base.adapter.folder, "a DoRA adapter"))
        module = _backbone(base.model).module
        names = self._target_modules(module)
        module.requires_grad_(False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for name in names:
                layer = module.get_submodule(name)
                if self.quantize is not None:
                    layer = QuantizedLinear(cast(nn.Linear, layer), 8 if self.quantize == "int8" else 4)
                _replace(module, name, LoraLinear(layer, self.rank, self._alpha, self.dropout, dora=self.dora))
        if base.adapter is not None:
            self._load_factors(module, compute_lora_factors(base.adapter))
        return replace(base, adapter=None)

    @torch.no_grad()
    def _load_factors(self, module: nn.Module, factors: Mapping[str, LoraFactors]) -> None:
        """Set the updates of the layers to those of an earlier adapter; further ranks keep their initialization."""
        layers = dict(_adapted(module))
        for name, lora in factors.items():
            rank = len(lora.down_RI)
            if name not in layers:
                reason = "'target_modules' leaves out" if self.target_modules else "the method 'lora' does not train"
                raise InvalidParameter("method.target_modules", f"The adapter changes '{name}', which {reason}.")
            if rank > self.rank:
                raise InvalidParameter(
                    "method.rank",
                    f"The adapter has rank {rank} in '{name}', with all matrices that are joined there. "
                    f"Set 'rank' to at least {rank}.",
                )
            layers[name].lora_A[:rank] = lora.down_RI
            layers[name].lora_B[:, :rank] = lora.up_OR / layers[name].scaling
            layers[name].reset_magnitude()

    @property
    def _alpha(self) -> float:
        return 2.0 * self.rank if self.alpha is None else self.alpha

    def _target_modules(self, module: nn.Module) -> list[str]:
        matrices = {id(parameter) for parameter in block_matrices(module)}
        names = [
            name
            for name, child in module.named_modules()
            if isinstance(getattr(child, "weight", None), Tensor) and id(child.weight) in matrices
        ]
        matches = [
            n
            for n in names
            if not self.target_modules or any(fnmatchcase(n, pattern) for pattern in self.target_modules)
        ]
        if not matches:
            examples = ", ".join(names[:4])
            raise InvalidParameter(
                "method.target_modules", f"No linear layer matches {self.target_modules}; the model has {examples}, …"
            )
        return matches

    def plain(self, model: LanguageModel) -> LanguageModel:
        """Return a copy with the updates merged into the weights."""
        if isinstance(model, Classifier):
            return replace(model, backbone=self.plain(model.backbone))
        module = copy.deepcopy(model.module)
        for name, layer in list(_adapted(module)):
            plain = _base_linear(layer.base_layer)
            with torch.no_grad():
                merged = _lora_weights(layer).merge(layer.base_weight(), layer.scaling)
                plain.weight = nn.Parameter(merged.T.contiguous() if layer.is_transposed else merged)
            _replace(module, name, plain)
        if isinstance(model, EncoderModel):
            return EncoderModel(cast(TrainableEncoder, module), model.hf_config)
        if isinstance(model, DecoderModel):
            return DecoderModel(cast(Decoder, module), model.hf_config)
        return replace(cast(TransformersModel, model), module=module)

    def save(
        self,
        target: Path,
        base: ModelBundle,
        files: Mapping[str, str | Path],
        dtype: torch.dtype | None = None,  # noqa: ARG002, an adapter is small and keeps its dtype
    ) -> None:
        """Write the adapter and the base model's tokenizer, and the head of a classifier."""
        assert base.folder is not None, "checked by prepare"
        updates, fan_in_fan_out = self._hf_updates(_backbone(base.model))
        with export_folder(target, base.tokenizer, generation=base.generation, files=files) as folder:
            save_adapter(
                folder, updates, base=base.folder, rank=self.rank, alpha=self._alpha, dropout=self.dropout,
                task_type=TASKS[base.model.kind], fan_in_fan_out=fan_in_fan_out,
            )  # fmt: skip
            if isinstance(base.model, Classifier):
                base.model.save_head(folder)

    def _hf_updates(self, model: LanguageModel) -> tuple[dict[str, LoraWeights], bool]:
        """Return the updates by Hugging Face module name, and whether those modules store transposed matrices."""
        updates = {name: _lora_weights(layer) for name, layer in _adapted(model.module)}
        if isinstance(model, EncoderModel):
            return dict(
                pair for name, update in updates.items() for pair in _split(update, encoder_hf_modules(name))
            ), False
        if not isinstance(model, DecoderModel):
            return updates, next(layer.is_transposed for _, layer in _adapted(model.module))
        config = model.decoder.config
        hf_updates: dict[str, LoraWeights] = {}
        fan_in_fan_out = False
        for mapping in load_family(config.family).weight_mappings(config):
            decoder_name = mapping.decoder_name.removesuffix(".weight")
            if not mapping.decoder_name.endswith(".weight") or decoder_name not in updates:
                continue
            hf_names = [name.removesuffix(".weight") for name in mapping.hf_names]
            hf_updates.update(_split(updates[decoder_name], hf_names, mapping.split_sizes))
            fan_in_fan_out = mapping.is_transposed
        return hf_updates, fan_in_fan_out


def _split(
    update: LoraWeights, hf_names: Sequence[str], sizes: Sequence[int] | None = None
) -> Iterator[tuple[str, LoraWeights]]:
    """One matrix here may be several in the file (query, key, value): they share A and split the rows of B.

    Args:
        update: the update of the matrix.
        hf_names: modules of the file, in the order of their rows.
        sizes: their numbers of rows; default: equal ones.
    """
    num_rows = len(update.lora_B)
    sizes = list(sizes or [num_rows // len(hf_names)] * len(hf_names))
    magnitudes = [None] * len(sizes) if update.magnitude is None else torch.split(update.magnitude, sizes)
    for name, lora_B, magnitude in zip(hf_names, torch.split(update.lora_B, sizes), magnitudes, strict=True):
        yield name, LoraWeights(update.lora_A, lora_B, magnitude)


def _backbone(model: LanguageModel) -> LanguageModel:
    """The model whose layers are adapted."""
    return model.backbone if isinstance(model, Classifier) else model


def _merge_first(folder: Path, reason: str) -> str:
    return (
        f"{folder} is {reason}, whose training cannot be continued. Merge it into its base first: "
        f"turnwise merge {folder} --out FOLDER"
    )


def _adapted(module: nn.Module) -> Iterator[tuple[str, LoraLinear]]:
    """Yield the modules with an adapter and their names."""
    for name, child in module.named_modules():
        if isinstance(child, LoraLinear):
            yield name, child


def _lora_weights(layer: LoraLinear) -> LoraWeights:
    return LoraWeights(layer.lora_A, layer.lora_B, layer.magnitude)


def _replace(module: nn.Module, name: str, child: nn.Module) -> None:
    parent, _, attribute = name.rpartition(".")
    setattr(module.get_submodule(parent), attribute, child)


def _base_linear(layer: Any) -> Any:
    """Return an unquantized layer of the same shape and bias; the caller sets its weight."""
    if not isinstance(layer, QuantizedLinear):
        return copy.copy(layer)
    plain = nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta")
    plain.bias = layer.bias
    return plain
