"""LoRA: freeze the weights and train a low-rank update of each linear layer (Hu et al. 2021).

With `dora` the magnitude of each weight row is trained separately from its direction (DoRA, Liu et al. 2024). With
`quantize` the frozen weights are held in 8 or 4 bits during training (QLoRA, Dettmers et al. 2023). The result is an
adapter of a few megabytes in the format of the peft library, which also implements the layers.
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
from turnwise.models.decoder import Decoder
from turnwise.models.decoder_model import DecoderModel
from turnwise.models.families import load_family
from turnwise.models.language_model import LanguageModel, ModelKind, block_matrices
from turnwise.models.optional_libraries import import_peft
from turnwise.models.quantization import QuantizedLinear
from turnwise.models.transformers_model import TransformersModel
from turnwise.training import method
from turnwise.training.export import export_folder
from turnwise.training.model_bundle import ModelBundle

TASKS: dict[ModelKind, str] = {
    "decoder": "CAUSAL_LM",
    "encoder_decoder": "SEQ_2_SEQ_LM",
    "encoder": "",
}  # peft's task types
ADAPTER = "default"  # peft's name for an adapter without a name


class LoraMethod(method.Method):
    """LoRA, DoRA and QLoRA.

    Attributes:
        rank: rank of the update.
        alpha: the update is scaled by alpha / rank; default: twice the rank.
        dropout: dropout on the adapter's input during training.
        dora: train row magnitudes separately (DoRA).
        quantize: "int8" or "int4": quantize the frozen weights during training.
        target_modules: patterns of module names to adapt, such as "*attention*"; default: all linear layers of the
            blocks.
    """

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
        library = import_peft("The method 'lora'")
        if base.folder is None:
            raise InvalidParameter("method", "The method 'lora' needs an existing model; train a new one with 'full'.")
        if is_adapter(base.folder):
            raise InvalidParameter(
                "method",
                f"{base.folder} is an adapter itself, and adapters of adapters are not supported. Merge it into its "
                f"base first: turnwise merge {base.folder} --out FOLDER",
            )
        module = base.model.module
        names = self._target_modules(module)
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
        module = copy.deepcopy(model.module)
        for name, layer in list(_adapted(module)):
            plain = _base_linear(layer.get_base_layer())
            is_linear = isinstance(plain, nn.Linear)  # GPT-2's Conv1D stores the transposed matrix
            with torch.no_grad():
                merged = _lora_weights(layer).merge(layer.weight if is_linear else layer.weight.T, self._scale)
                plain.weight = nn.Parameter(merged if is_linear else merged.T.contiguous())
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
        dtype: torch.dtype | None = None,  # noqa: ARG002, an adapter is small and keeps its dtype
    ) -> None:
        """Write the adapter and the base model's tokenizer."""
        assert base.folder is not None, "checked by prepare"
        updates, fan_in_fan_out = self._hf_updates(base.model)
        with export_folder(target, base.tokenizer, generation=base.generation, files=files) as folder:
            save_adapter(
                folder, updates, base=base.folder, rank=self.rank, alpha=self._alpha, dropout=self.dropout,
                task_type=TASKS[base.model.kind], fan_in_fan_out=fan_in_fan_out,
            )  # fmt: skip

    def _hf_updates(self, model: LanguageModel) -> tuple[dict[str, LoraWeights], bool]:
        """Return the updates by Hugging Face module name, and whether those modules store transposed matrices."""
        updates = {name: _lora_weights(layer) for name, layer in _adapted(model.module)}
        if not isinstance(model, DecoderModel):
            return updates, not isinstance(_linear(model.module, next(iter(updates))), nn.Linear)
        config = model.decoder.config
        hf_updates: dict[str, LoraWeights] = {}
        fan_in_fan_out = False
        for mapping in load_family(config.family).weight_mappings(config):
            decoder_name = mapping.decoder_name.removesuffix(".weight")
            if not mapping.decoder_name.endswith(".weight") or decoder_name not in updates:
                continue
            update, fan_in_fan_out = updates[decoder_name], mapping.is_transposed
            # One matrix here may be several in the file (query, key, value): they share A and split the rows of B.
            split_sizes = list(mapping.split_sizes or update.lora_B.shape[:1])
            loras_B = torch.split(update.lora_B, split_sizes)
            magnitudes: Sequence[Tensor | None] = [None] * len(loras_B)
            if update.magnitude is not None:
                magnitudes = torch.split(update.magnitude, split_sizes)
            for name, lora_B, magnitude in zip(mapping.hf_names, loras_B, magnitudes, strict=True):
                hf_updates[name.removesuffix(".weight")] = LoraWeights(update.lora_A, lora_B, magnitude)
        return hf_updates, fan_in_fan_out


def _adapted(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the modules with an adapter and their names."""
    for name, child in module.named_modules():
        if hasattr(child, "lora_A") and hasattr(child, "base_layer"):
            yield name, child


def _lora_weights(layer: Any) -> LoraWeights:
    magnitude = layer.lora_magnitude_vector[ADAPTER].weight if ADAPTER in layer.lora_magnitude_vector else None
    return LoraWeights(layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight, magnitude)


def _linear(module: nn.Module, name: str) -> Any:
    layer: Any = module.get_submodule(name)
    return layer.get_base_layer() if hasattr(layer, "get_base_layer") else layer


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
