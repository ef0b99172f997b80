"""Model names as commands accept them: a folder, or "box" for the bundled model."""

from pathlib import Path

from turnwise.models.adapter_config import bundled_model_folder
from turnwise.models.model_folders import find_model_folder
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer

BUNDLED_MODEL = "box"  # the name of the bundled model


def resolve_model_folder(name: str | None) -> Path:
    """Return the folder of a model: of the bundled model for None and "box", otherwise see `find_model_folder`.

    Raises:
        ModelNotFound: the folder does not exist or holds no model; the message says what to do.
    """
    return bundled_model_folder() if name is None or name == BUNDLED_MODEL else find_model_folder(name)


def load_renderer(model: str | None) -> Renderer:
    """Load the tokenizer and chat template of a model, without its weights.

    Raises:
        UserError: the folder holds no tokenizer, or a damaged one.
    """
    return Renderer.from_tokenizer(Tokenizer.load(resolve_model_folder(model)))
