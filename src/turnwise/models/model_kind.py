"""Detects the kind of model in a folder from its config. Does not import torch."""

from pathlib import Path
from typing import TYPE_CHECKING

from turnwise.core.errors import UserError
from turnwise.models.adapter_config import adapter_base_folder, is_adapter
from turnwise.models.classifier_config import is_classifier
from turnwise.models.families import FAMILIES
from turnwise.models.model_folders import read_hf_config
from turnwise.models.tensor_files import TensorFiles

if TYPE_CHECKING:
    from turnwise.models.language_model import ModelKind

# Suffixes of class names in `architectures` of models that generate text.
GENERATIVE_SUFFIXES = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "Decoder", "WithLMHead")


def full_model_folder(folder: Path) -> Path:
    """The folder of the full model: this one, or the base model's if this one holds an adapter."""
    return adapter_base_folder(folder) if is_adapter(folder) else folder


def detect_model_kind(folder: Path) -> "ModelKind":
    """The kind of the model in a folder, from its config. Raises as `read_hf_config` does."""
    hf_config = read_hf_config(full_model_folder(folder))
    if hf_config.get("is_encoder_decoder"):
        return "encoder_decoder"
    if hf_config["model_type"] in FAMILIES.names():
        return "decoder"
    if architecture := next(iter(hf_config.get("architectures") or ()), ""):
        return "decoder" if architecture.endswith(GENERATIVE_SUFFIXES) else "encoder"
    return "encoder" if "bert" in hf_config["model_type"] else "decoder"


def is_native(folder: Path) -> bool:
    """True if our decoder computes the model in a folder, False if transformers does. Raises as `read_hf_config`."""
    return (
        detect_model_kind(folder) == "decoder"
        and read_hf_config(full_model_folder(folder))["model_type"] in FAMILIES.names()
    )


def reject_encoder(folder: Path) -> None:
    """Raise `UserError` if the model in a folder cannot generate text. Also raises as `read_hf_config` does."""
    if detect_model_kind(folder) != "encoder":
        return
    hf_config = read_hf_config(full_model_folder(folder))
    name = next(iter(hf_config.get("architectures") or ()), hf_config["model_type"])
    purpose = "fills masks in a text" if name.endswith("MaskedLM") else "computes embeddings or classifies"
    raise UserError(f"{folder} holds an encoder ({name}), which {purpose}: it cannot generate answers.")


def check_servable(folder: Path) -> None:
    """Check a folder as far as its config and the headers of its weights allow.

    Raises:
        ModelNotFound: the folder has no model or no weights.
        UserError: a file is damaged, or the model is an encoder.
    """
    if is_classifier(folder):
        raise UserError(
            f"{folder} holds a classifier, which does not chat: use `turnwise serve --classifier {folder}`."
        )
    reject_encoder(folder)
    TensorFiles(full_model_folder(folder))
