"""The model that comes with the package."""

from importlib import resources
from pathlib import Path

BUNDLED_MODEL = "tiny"
BUNDLED_MODELS = {BUNDLED_MODEL: "box", "box": "box"}  # folder in the package by model name


def bundled_model_folder(name: str = BUNDLED_MODEL) -> Path:
    """The folder of a bundled model."""
    return Path(str(resources.files("turnwise").joinpath(BUNDLED_MODELS[name])))


def is_bundled_model(folder: Path) -> bool:
    """True for the folder of the bundled model."""
    return folder.resolve() == bundled_model_folder().resolve()
