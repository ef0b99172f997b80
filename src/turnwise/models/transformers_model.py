"""Any other model: whatever transformers can load, from a folder or, where there is a network, by its name on a hub."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from turnwise.core.errors import UserError
from turnwise.core.json_file import preview
from turnwise.core.system_memory import check_fits
from turnwise.models.adapter_config import is_adapter
from turnwise.models.adapters import Adapter, load_adapter
from turnwise.models.language_model import ModelKind
from turnwise.models.model_folders import read_hf_config
from turnwise.models.model_kind import detect_model_kind, full_model_folder, is_native, reject_encoder
from turnwise.models.tensor_files import TensorFiles

__all__ = [
    "TransformersModel",
    "create",
    "detect_model_kind",
    "full_model_folder",
    "is_native",
    "load",
    "load_for_generation",
]

PLENTY = 1024  # tokens, for models whose positions are relative and end nowhere
AUTO = {
    "decoder": "AutoModelForCausalLM",
    "encoder_decoder": "AutoModelForSeq2SeqLM",
    "encoder": "AutoModelForMaskedLM",
}
LENGTHS = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len")


def transformers(what: str) -> ModuleType:
    """The library. Raises `UserError` where it is not installed; `what` needs it."""
    return _library("transformers", "transformers", what)


def peft(what: str) -> ModuleType:
    """The library of adapters. Raises `UserError` where it is not installed; `what` needs it."""
    return _library("peft", "adapters", what)


def _library(name: str, extra: str, what: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError:
        raise UserError(f"{what} needs {name}: pip install 'turnwise[{extra}]'") from None


@dataclass
class TransformersModel:
    """A model that transformers computes (a `Model`)."""

    module: Any
    kind: ModelKind
    hf_config: dict[str, Any]
    supports_packing = False  # not every model takes a mask for it

    @property
    def embedding(self) -> nn.Module:
        """What turns ids into vectors; those of the encoder, where there are two."""
        found: nn.Module = self.module.get_input_embeddings()
        return found

    @property
    def context_length(self) -> int:
        """Most tokens it reads."""
        found = (getattr(self.module.config, name, None) for name in LENGTHS)
        return next((length for length in found if isinstance(length, int) and length > 0), PLENTY)

    @property
    def vocab_size(self) -> int:
        """Its ids run from 0 to this, exclusive."""
        return int(self.module.config.vocab_size)

    @property
    def decoder_start_ids(self) -> tuple[int, ...]:
        """What a decoder that has an encoder begins every answer with; () for the others.

        Raises:
            UserError: the model does not say.
        """
        if self.kind != "encoder_decoder":
            return ()
        settings = self.module.generation_config
        start = settings.decoder_start_token_id
        if start is None:
            start = getattr(self.module.config, "decoder_start_token_id", None)
        if start is None:
            raise UserError("The model does not say what its decoder begins with: decoder_start_token_id is missing.")
        # Some begin every answer with one more token, which is the same each time and so no part of it.
        forced = settings.forced_bos_token_id
        return (start,) if forced is None else (start, forced)

    @property
    def head_parameters(self) -> Sequence[nn.Parameter]:
        """Those of the output embeddings, where scores are computed from them alone."""
        return list(self.module.get_output_embeddings().parameters()) if self._has_plain_head else []

    def logits(self, hidden_NC: Tensor) -> Tensor:
        """Scores over the vocabulary, `(N, V)`."""
        scores_NV: Tensor = self.module.get_output_embeddings()(hidden_NC) if self._has_plain_head else hidden_NC
        return scores_NV

    def hidden_states(
        self,
        ids_BT: Tensor,
        logits_mask_BT: Tensor,
        *,
        segment_ids_BT: Tensor,
        positions_BT: Tensor,  # noqa: ARG002, one sequence to a row: models count for themselves
        encoder_ids_BS: Tensor | None = None,
        encoder_mask_BS: Tensor | None = None,
    ) -> Tensor:
        """What the head reads, `(N, C)`; the scores themselves, `(N, V)`, where more than a head computes them."""
        if self.kind != "encoder_decoder" and int((segment_ids_BT.diff(dim=1) > 0).sum()):
            ids_BT, logits_mask_BT, segment_ids_BT = _apart(ids_BT, logits_mask_BT, segment_ids_BT)
        mask_BT = (segment_ids_BT > 0).long()
        if self.kind == "encoder_decoder":
            inputs = {
                "input_ids": encoder_ids_BS, "attention_mask": encoder_mask_BS, "decoder_input_ids": ids_BT,
                "decoder_attention_mask": mask_BT, "use_cache": False,
            }  # fmt: skip
        else:
            more = {"use_cache": False} if self.kind == "decoder" else {}
            inputs = {"input_ids": ids_BT, "attention_mask": mask_BT, **more}
        if not self._has_plain_head:
            scores_NV: Tensor = self.module(**inputs).logits[logits_mask_BT]
            return scores_NV
        with _head_left_out(self.module.get_output_embeddings()) as read:
            self.module(**inputs)
        hidden_NC: Tensor = read[0][logits_mask_BT]
        return hidden_NC

    @cached_property
    def _has_plain_head(self) -> bool:
        """Whether scores are the output embeddings' alone, which one try tells: some models scale or bound them."""
        head = self.module.get_output_embeddings()
        if head is None or isinstance(self.module, FSDPModule):
            return False
        was_training = self.module.training
        self.module.eval()
        ids = torch.arange(4, device=head.weight.device).remainder(self.vocab_size).unsqueeze(0)
        inputs = {"input_ids": ids, **({"decoder_input_ids": ids} if self.kind == "encoder_decoder" else {})}
        try:
            with torch.no_grad():
                whole = self.module(**inputs).logits
                with _head_left_out(head) as read:
                    self.module(**inputs)
                return len(read) == 1 and torch.allclose(head(read[0]), whole, rtol=1e-5, atol=1e-6)
        except (TypeError, ValueError, RuntimeError, IndexError):
            return False
        finally:
            self.module.train(was_training)

    def save(self, folder: Path, *, dtype: torch.dtype | None = None, hf_config: Mapping[str, Any]) -> None:
        """Write `config.json` and the weights into a fresh folder."""
        known = self.module.config
        for name, value in hf_config.items():
            setattr(known, name, value)
        module = self.module if dtype is None else self.module.to(dtype)
        module.save_pretrained(folder, safe_serialization=True)
        for path in folder.iterdir():
            path.chmod(0o644)  # safetensors keeps its files to their owner, unlike the others of the folder


@contextmanager
def _head_left_out(head: Any) -> Iterator[list[Tensor]]:
    """Within the block the head computes nothing; what it would have read is in the list."""
    read: list[Tensor] = []

    def forward(hidden: Tensor) -> Tensor:
        read.append(hidden)
        return hidden[..., :1]

    head.forward = forward
    try:
        yield read
    finally:
        del head.forward


def _apart(ids_BT: Tensor, logits_mask_BT: Tensor, segment_ids_BT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same sequences, each in a row of its own; what is wanted of them stays in the same order."""
    numbers = [number for number in dict.fromkeys(segment_ids_BT.flatten().tolist()) if number > 0]
    places = [segment_ids_BT.flatten() == number for number in numbers]
    longest = max(int(place.sum()) for place in places)

    def laid_out(values_BT: Tensor) -> Tensor:
        found = values_BT.new_zeros(len(places), longest)
        for row, place in enumerate(places):
            values = values_BT.flatten()[place]
            found[row, : len(values)] = values
        return found

    return laid_out(ids_BT), laid_out(logits_mask_BT), laid_out(segment_ids_BT)


def load(
    folder: Path,
    *,
    kind: ModelKind | None = None,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    adapter: Adapter | None = None,
) -> TransformersModel:
    """Load a model from a Hugging Face folder; `adapter` changes its weights.

    Raises:
        ModelNotFound: no such folder, or none that holds a model.
        UserError: transformers is not installed or cannot load it, or the memory does not suffice.
    """
    own = folder
    if adapter is None and is_adapter(folder):
        adapter = load_adapter(folder)
        own = adapter.base
    hf_config = read_hf_config(own)
    kind = kind or detect_model_kind(own)
    library = transformers(f"{folder} holds a model of type {preview(hf_config['model_type'])}, which")
    files = TensorFiles(own)
    _check_sizes(hf_config, files, own / "config.json")
    if torch.device(device).type == "cpu":
        check_fits(files.numbers * dtype.itemsize, f"The model in {own}")
    with _quiet(library):
        try:
            module, report = getattr(library, AUTO[kind]).from_pretrained(
                own, dtype=dtype, local_files_only=True, use_safetensors=True, trust_remote_code=False,
                output_loading_info=True,
            )  # fmt: skip
        except Exception as error:  # a config that is not the model's fails anywhere in the library
            raise UserError(f"{folder} cannot be loaded: {preview(str(error), 300)}") from error
    if missing := sorted(report["missing_keys"]):  # the library would make them up
        raise UserError(f"{folder}: The weights are not complete: the tensor {preview(missing[0])} is missing.")
    if adapter is not None:
        adapter.apply(module)
    return TransformersModel(module.to(device).eval(), kind, hf_config)


def _check_sizes(hf_config: dict[str, Any], files: TensorFiles, path: Path) -> None:
    """Refuse sizes that the files do not bear out, before the library builds a model of them.

    What a size means is known to the library alone. But a model has more tensors than layers, and other sizes are in
    the order of its dimensions.
    """
    layers, largest = max(256, len(files)), max(2**24, files.largest_dimension)
    level: list[tuple[str, Any]] = list(hf_config.items())
    for name, value in level:
        if isinstance(value, dict):
            level.extend(value.items())
        elif isinstance(value, list):
            level.extend((name, entry) for entry in value)
        elif isinstance(value, int) and abs(value) > (layers if "layer" in name else largest):
            raise UserError(f"{path}: '{name}': {value} is more than the weights have room for.")


@contextmanager
def _quiet(library: ModuleType) -> Iterator[None]:
    """Keep the library's progress bars and tables to itself; what matters of them we say."""
    log = library.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()


def block_matrices(module: nn.Module) -> Collection[nn.Parameter]:
    """The matrices of linear layers that stand in a stack: neither embeddings nor the head over the vocabulary."""
    stacked = [name for name, part in module.named_modules() if isinstance(part, nn.ModuleList)]
    embeddings = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    return [
        parameter
        for name, parameter in module.named_parameters()
        if parameter.dim() == 2
        and id(parameter) not in embeddings
        and any(name.startswith(f"{stack}.") for stack in stacked)
    ]


def load_for_generation(folder: Path, *, dtype: torch.dtype, device: str | torch.device) -> TransformersModel:
    """Load a model that can answer. Raises as `load` does, and for one that only fills gaps."""
    reject_encoder(folder)
    model = load(folder, dtype=dtype, device=device)
    _ = model.decoder_start_ids  # says now what would be found missing later
    return model


@dataclass(frozen=True)
class ModelSizes:
    """Of a new model."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    context_length: int


def create(family: str, sizes: ModelSizes, *, pad: int, end: int | None, seed: int) -> TransformersModel:
    """A new model of a family that transformers computes; the same seed gives the same weights.

    Args:
        family: "t5" or "bart" (encoder–decoders), or "bert" (an encoder).
        sizes: its own; an encoder–decoder has `num_layers` of either.
        pad: the padding token.
        end: the token that ends an answer.
        seed: of the weights.

    Raises:
        UserError: transformers is not installed.
    """
    library = transformers(f"A new model of the family '{family}'")
    tokens = {"pad_token_id": pad, "eos_token_id": end, "bos_token_id": None}
    kind: ModelKind = "encoder" if family == "bert" else "encoder_decoder"
    if family == "t5":
        config = library.T5Config(
            vocab_size=sizes.vocab_size, d_model=sizes.hidden_size, d_kv=sizes.hidden_size // sizes.num_heads,
            d_ff=sizes.intermediate_size, num_layers=sizes.num_layers, num_heads=sizes.num_heads,
            n_positions=sizes.context_length, feed_forward_proj="gated-gelu", decoder_start_token_id=pad,
            dropout_rate=0.0, **tokens,
        )  # fmt: skip
    elif family == "bart":
        config = library.BartConfig(
            vocab_size=sizes.vocab_size, d_model=sizes.hidden_size, max_position_embeddings=sizes.context_length,
            encoder_layers=sizes.num_layers, decoder_layers=sizes.num_layers, encoder_ffn_dim=sizes.intermediate_size,
            decoder_ffn_dim=sizes.intermediate_size, encoder_attention_heads=sizes.num_heads,
            decoder_attention_heads=sizes.num_heads, decoder_start_token_id=pad, forced_eos_token_id=None, dropout=0.0,
            **tokens,
        )  # fmt: skip
    else:
        config = library.BertConfig(
            vocab_size=sizes.vocab_size, hidden_size=sizes.hidden_size, num_hidden_layers=sizes.num_layers,
            num_attention_heads=sizes.num_heads, intermediate_size=sizes.intermediate_size,
            max_position_embeddings=sizes.context_length, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
            pad_token_id=pad,
        )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = getattr(library, AUTO[kind]).from_config(config)
    return TransformersModel(module.eval(), kind, config.to_dict())
