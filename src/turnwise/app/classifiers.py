"""Opens trained classifiers, for calls and as services."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from turnwise.app.model_names import resolve_model_folder
from turnwise.app.text_classifier import TextClassifier
from turnwise.chat.classification_service import StepwiseClassificationService
from turnwise.chat.stepwise_executor import StepwiseExecutor
from turnwise.core.errors import InvalidParameter
from turnwise.core.system_memory import check_fits
from turnwise.core.word_vectors import number_rows
from turnwise.models.bundled_models import bundled_model_at
from turnwise.models.classifier_config import (
    CLASSIFIER_CONFIG_FILE,
    ClassifierConfig,
    read_classifier_config,
    read_words,
)
from turnwise.models.model_folders import weights_digest
from turnwise.models.model_kind import detect_model_kind, full_model_folder
from turnwise.models.stored_models import stored_model_name
from turnwise.models.tensor_files import TensorFiles
from turnwise.text.tokenization.tokenizer import Tokenizer

if TYPE_CHECKING:
    from turnwise.engine.classifier_engine import HiddenStates


INT8 = "int8"
TOKENIZER_FILE = "tokenizer.json"


def open_classification_service(
    model: str,
    *,
    quantize: str | None = None,
    threads: int | None = None,
    name: str | None = None,
    executor: StepwiseExecutor | None = None,
) -> StepwiseClassificationService:
    """Open a trained classifier as a service.

    Args:
        model: a model folder or name.
        quantize: as for `open_classifier`.
        threads: number of threads; None is the default of the engine.
        name: the served model name. Default: see `classifier_name`.
        executor: the thread that computes, which several services may share. Default: a new one.

    Raises as `open_classifier` does; also `UserError` if the model does not fit into the memory.
    """
    folder, _ = check_classifier(model, quantize)
    bytes_per_weight = 1 if quantize == INT8 else 4
    check_fits(bytes_per_weight * TensorFiles(full_model_folder(folder)).num_elements, f"The classifier in {folder}")
    classifier = open_classifier(model, quantize=quantize, threads=threads)
    return StepwiseClassificationService(
        name=name or classifier_name(model),
        created=int((folder / CLASSIFIER_CONFIG_FILE).stat().st_mtime),
        task=classifier.config.task,
        labels=classifier.config.labels,
        is_multi_label=classifier.config.is_multi_label,
        max_input_tokens=classifier.max_tokens,
        classifier=classifier,
        executor=executor or StepwiseExecutor("classification"),
    )


def check_classifier(model: str, quantize: str | None = None) -> tuple[Path, ClassifierConfig]:
    """The folder of a classifier and its labels, before anything large is loaded. Raises as `open_classifier` does."""
    folder = resolve_model_folder(model)
    config = read_classifier_config(folder)
    if quantize not in (None, INT8):
        raise InvalidParameter("quantize", f"Classifiers can be quantized to {INT8} only, not to {quantize}.")
    if quantize is not None and detect_model_kind(folder) != "encoder":
        raise InvalidParameter(
            "quantize",
            f"{model} is a classifier on a decoder, which cannot be quantized: {INT8} is for classifiers on encoders, "
            "such as minilm.",
        )
    return folder, config


def classifier_name(model: str) -> str:
    """The default served name of a classifier: its name in the package or the store, or of its folder."""
    folder = resolve_model_folder(model)
    if (bundled := bundled_model_at(folder)) is not None:
        return bundled.name
    return stored_model_name(folder) or folder.resolve().name


def classifier_digest(model: str) -> str:
    """Hash of the files that decide the labels: weights, head, adapter and its base, settings and tokenizer.

    Raises as `open_classifier` does.
    """
    folder, _ = check_classifier(model)
    base = full_model_folder(folder)
    digest = hashlib.sha256(f"{weights_digest(folder)} {weights_digest(base)}".encode())
    for path in (folder / CLASSIFIER_CONFIG_FILE, folder / TOKENIZER_FILE, base / TOKENIZER_FILE):
        digest.update(path.read_bytes() if path.is_file() else b"-")
    return digest.hexdigest()


def open_classifier(model: str, *, quantize: str | None = None, threads: int | None = None) -> TextClassifier:
    """Open a trained classifier.

    Args:
        model: a model folder or name.
        quantize: "int8" quantizes an encoder's weights to 8 bits; None leaves them as they are.
        threads: number of threads; None is the default of the engine.

    Raises:
        InvalidParameter: an unknown quantization, or one that the classifier or this machine does not support.
        ModelNotFound: there is no such model.
        UserError: the folder holds no classifier, or a damaged one.
    """
    folder, config = check_classifier(model, quantize)
    tokenizer = Tokenizer.load(folder, full_model_folder(folder))
    hidden_states, hidden_size, max_tokens = _backbone(folder, quantize, threads)

    from turnwise.engine.classifier_engine import ClassifierEngine
    from turnwise.models.classifier import load_head

    head, config = load_head(folder, hidden_size)
    max_tokens = min(max_tokens, config.max_tokens or max_tokens)
    vector_rows = number_rows(read_words(folder, config))
    return TextClassifier(config, tokenizer, ClassifierEngine(hidden_states, head, config), max_tokens, vector_rows)


def _backbone(folder: Path, quantize: str | None, threads: int | None) -> "tuple[HiddenStates, int, int]":
    """The backbone's function of hidden states, its hidden size and its context length."""
    import torch

    from turnwise.engine.classifier_engine import decoder_hidden_states, encoder_hidden_states
    from turnwise.models import checkpoint
    from turnwise.models.encoder_weights import EncoderCheckpoint

    if detect_model_kind(folder) == "encoder":
        weights = EncoderCheckpoint(folder)
        states = encoder_hidden_states(weights, is_int8=quantize == INT8, threads=threads)
        return states, weights.config.hidden_size, weights.config.num_positions
    decoder = checkpoint.load(folder, dtype=torch.float32)
    return decoder_hidden_states(decoder), decoder.decoder.config.hidden_size, decoder.context_length
