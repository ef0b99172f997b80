"""The model that comes with the package."""

from importlib import resources
from pathlib import Path

BUNDLED_MODEL = "tiny"
BUNDLED_MODELS = {BUNDLED_MODEL: "box", "box": "box"}  # folder in the package by model name


def bundled_model_folder(name: str = BUNDLED_MODEL) -> Path:
    """The folder of a bundled model."""
    return Path(str(resources.files("turnwise").joinpath(BUNDLED_MODELS[name])))


def bundled_model_name(folder: Path) -> str | None:
    """The name of the bundled model in a folder; None for other folders."""
    names = (name for name in BUNDLED_MODELS if bundled_model_folder(name).resolve() == folder.resolve())
    return next(names, None)
