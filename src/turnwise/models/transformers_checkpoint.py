"""Loads models with transformers from Hugging Face folders, and creates new ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from turnwise.core.errors import UserError
from turnwise.core.json_file import preview
from turnwise.core.system_memory import check_fits
from turnwise.models.adapter_config import is_adapter
from turnwise.models.adapters import Adapter, load_adapter
from turnwise.models.language_model import ModelKind
from turnwise.models.model_folders import read_hf_config
from turnwise.models.model_kind import detect_model_kind, reject_encoder
from turnwise.models.tensor_files import TensorFiles
from turnwise.models.transformers_model import TransformersModel

AUTO_CLASSES = {
    "decoder": "AutoModelForCausalLM",
    "encoder_decoder": "AutoModelForSeq2SeqLM",
    "encoder": "AutoModelForMaskedLM",
}
MIN_LAYER_LIMIT = 256  # number of layers, and other sizes, that a config may always have
MIN_SIZE_LIMIT = 2**24


def load(
    folder: Path,
    *,
    kind: ModelKind | None = None,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    adapter: Adapter | None = None,
) -> TransformersModel:
    """Load a model from a Hugging Face folder or a LoRA adapter.

    Args:
        folder: the model's folder.
        kind: kind of the model. Default: detected from the config.
        dtype: dtype of the weights.
        device: device of the weights.
        adapter: merged into the weights.

    Raises:
        ModelNotFound: the folder does not exist or has no model.
        UserError: transformers is not installed or cannot load the model, or the memory is too small.
    """
    model_folder = folder
    if adapter is None and is_adapter(folder):
        adapter = load_adapter(folder)
        model_folder = adapter.base
    hf_config = read_hf_config(model_folder)
    kind = kind or detect_model_kind(model_folder)
    library = _import_transformers(f"{folder} holds a model of type {preview(hf_config['model_type'])}, which")
    files = TensorFiles(model_folder)
    _check_sizes(hf_config, files, model_folder / "config.json")
    if torch.device(device).type == "cpu":
        check_fits(files.num_elements * dtype.itemsize, f"The model in {model_folder}")
    with _silence(library):
        try:
            module, loading_info = getattr(library, AUTO_CLASSES[kind]).from_pretrained(
                model_folder, dtype=dtype, local_files_only=True, use_safetensors=True, trust_remote_code=False,
                output_loading_info=True,
            )  # fmt: skip
        except Exception as error:  # an invalid config can fail anywhere in the library
            raise UserError(f"{folder} cannot be loaded: {preview(str(error), 300)}") from error
    if missing := sorted(loading_info["missing_keys"]):  # transformers initialises them randomly
        raise UserError(f"{folder}: The weights are not complete: the tensor {preview(missing[0])} is missing.")
    if adapter is not None:
        adapter.merge_into(module)
    return TransformersModel(module.to(device).eval(), kind, hf_config)


def load_for_generation(folder: Path, *, dtype: torch.dtype, device: str | torch.device) -> TransformersModel:
    """Load a model that generates text. Raises as `load` does, and `UserError` for encoders."""
    reject_encoder(folder)
    model = load(folder, dtype=dtype, device=device)
    _ = model.decoder_start_ids  # raise now if they are missing
    return model


def _check_sizes(hf_config: dict[str, Any], files: TensorFiles, path: Path) -> None:
    """Reject sizes that the weight files contradict, before transformers allocates a model of that size.

    Only transformers knows the meaning of each key. But a model has at least one tensor per layer, and no size is far
    larger than the largest dimension of its tensors.
    """
    max_layers, max_size = max(MIN_LAYER_LIMIT, len(files)), max(MIN_SIZE_LIMIT, files.largest_dimension)
    entries: list[tuple[str, Any]] = list(hf_config.items())
    for name, value in entries:  # nested entries are appended during the loop
        if isinstance(value, dict):
            entries.extend(value.items())
        elif isinstance(value, list):
            entries.extend((name, entry) for entry in value)
        elif isinstance(value, int) and abs(value) > (max_layers if "layer" in name else max_size):
            raise UserError(f"{path}: '{name}': {value} is too large for the weights in this folder.")


@contextmanager
def _silence(library: ModuleType) -> Iterator[None]:
    """Switch off progress bars and warnings of transformers; Turnwise reports problems itself."""
    logging = library.logging
    verbosity, had_progress_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_progress_bar:
            logging.enable_progress_bar()


@dataclass(frozen=True)
class ModelSizes:
    """Sizes of a new model; an encoder-decoder has `num_layers` in both its encoder and its decoder."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    context_length: int


def create(
    family: str, sizes: ModelSizes, *, pad_token_id: int, eos_token_id: int | None, seed: int
) -> TransformersModel:
    """Create a model with random weights; the same seed gives the same weights.

    Args:
        family: "t5" or "bart" (encoder-decoders), or "bert" (an encoder).
        sizes: sizes of the model.
        pad_token_id: the padding token.
        eos_token_id: the token that ends an answer.
        seed: seed of the weights.

    Raises:
        UserError: transformers is not installed.
    """
    library = _import_transformers(f"A new model of the family '{family}'")
    kind: ModelKind = "encoder" if family == "bert" else "encoder_decoder"
    config = _new_config(library, family, sizes, pad_token_id, eos_token_id)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = getattr(library, AUTO_CLASSES[kind]).from_config(config)
    return TransformersModel(module.eval(), kind, config.to_dict())


def _import_transformers(subject: str) -> ModuleType:
    """Import transformers. Raises `UserError` if it is not installed; `subject` is what needs it."""
    try:
        return import_module("transformers")
    except ImportError:
        raise UserError(f"{subject} needs transformers: pip install 'turnwise[transformers]'") from None


def _new_config(
    library: ModuleType, family: str, sizes: ModelSizes, pad_token_id: int, eos_token_id: int | None
) -> Any:
    """The config of a new model, without dropout."""
    tokens = {"pad_token_id": pad_token_id, "eos_token_id": eos_token_id, "bos_token_id": None}
    if family == "t5":
        return library.T5Config(
            vocab_size=sizes.vocab_size, d_model=sizes.hidden_size, d_kv=sizes.hidden_size // sizes.num_heads,
            d_ff=sizes.intermediate_size, num_layers=sizes.num_layers, num_heads=sizes.num_heads,
            n_positions=sizes.context_length, feed_forward_proj="gated-gelu", decoder_start_token_id=pad_token_id,
            dropout_rate=0.0, **tokens,
        )  # fmt: skip
    if family == "bart":
        return library.BartConfig(
            vocab_size=sizes.vocab_size, d_model=sizes.hidden_size, max_position_embeddings=sizes.context_length,
            encoder_layers=sizes.num_layers, decoder_layers=sizes.num_layers, encoder_ffn_dim=sizes.intermediate_size,
            decoder_ffn_dim=sizes.intermediate_size, encoder_attention_heads=sizes.num_heads,
            decoder_attention_heads=sizes.num_heads, decoder_start_token_id=pad_token_id, forced_eos_token_id=None,
            dropout=0.0, **tokens,
        )  # fmt: skip
    return library.BertConfig(
        vocab_size=sizes.vocab_size, hidden_size=sizes.hidden_size, num_hidden_layers=sizes.num_layers,
        num_attention_heads=sizes.num_heads, intermediate_size=sizes.intermediate_size,
        max_position_embeddings=sizes.context_length, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        pad_token_id=pad_token_id,
    )  # fmt: skip
