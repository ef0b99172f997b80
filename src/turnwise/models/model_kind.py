"""What kind of model a folder holds, by what its config says. Read without torch."""

from pathlib import Path
from typing import TYPE_CHECKING

from turnwise.core.errors import UserError
from turnwise.models.adapter_config import adapter_base_folder, is_adapter
from turnwise.models.families import FAMILIES
from turnwise.models.model_folders import read_hf_config
from turnwise.models.tensor_files import TensorFiles

if TYPE_CHECKING:
    from turnwise.models.language_model import ModelKind

# Ends of the names of classes that have a head over the vocabulary and write from left to right.
GENERATIVE = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "Decoder", "WithLMHead")


def full_model_folder(folder: Path) -> Path:
    """The folder that holds the whole model: this one, or that of the base if it holds an adapter."""
    return adapter_base_folder(folder) if is_adapter(folder) else folder


def detect_model_kind(folder: Path) -> "ModelKind":
    """How the model in a folder reads, by what its config says. Raises as `read_config` does."""
    hf_config = read_hf_config(full_model_folder(folder))
    if hf_config.get("is_encoder_decoder"):
        return "encoder_decoder"
    if hf_config["model_type"] in FAMILIES.names():
        return "decoder"
    if name := next(iter(hf_config.get("architectures") or ()), ""):
        return "decoder" if name.endswith(GENERATIVE) else "encoder"
    return "encoder" if "bert" in hf_config["model_type"] else "decoder"


def is_native(folder: Path) -> bool:
    """Whether our own decoder computes the model in a folder. Raises as `read_config` does."""
    return (
        detect_model_kind(folder) == "decoder"
        and read_hf_config(full_model_folder(folder))["model_type"] in FAMILIES.names()
    )


def reject_encoder(folder: Path) -> None:
    """Raise `UserError` where a folder holds a model that cannot answer. Raises as `read_config` does, too."""
    if detect_model_kind(folder) != "encoder":
        return
    hf_config = read_hf_config(full_model_folder(folder))
    name = next(iter(hf_config.get("architectures") or ()), hf_config["model_type"])
    purpose = "fills gaps in a text" if name.endswith("MaskedLM") else "turns a text into vectors or classifies it"
    raise UserError(f"{folder} holds an encoder ({name}), which {purpose}: it cannot answer.")


def check_servable(folder: Path) -> None:
    """Raise what is wrong with a folder as far as its config and the headers of its weights tell.

    Raises:
        ModelNotFound: no model, or no weights.
        UserError: a damaged file, or an encoder.
    """
    reject_encoder(folder)
    TensorFiles(full_model_folder(folder))
