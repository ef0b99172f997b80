"""Models that come with the package: `tiny`, a complete model, and `assistant`, an adapter of a larger one."""

from importlib import resources
from pathlib import Path

FULL_MODEL = "tiny"
ASSISTANT = "assistant"
BUNDLED_MODELS = {ASSISTANT: "assistant", FULL_MODEL: "box", "box": "box"}  # folder in the package by model name


def bundled_model_folder(name: str = FULL_MODEL) -> Path:
    """The folder of a bundled model."""
    return Path(str(resources.files("turnwise").joinpath(BUNDLED_MODELS[name])))


def bundled_model_name(folder: Path) -> str | None:
    """The name of the bundled model in a folder; None for other folders."""
    names = (name for name in BUNDLED_MODELS if bundled_model_folder(name).resolve() == folder.resolve())
    return next(names, None)
