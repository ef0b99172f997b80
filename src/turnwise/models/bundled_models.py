"""Models that come with the package: `tiny`, a complete model, and `assistant`, an adapter of a larger one."""

from importlib import resources
from pathlib import Path

BUNDLED_MODEL = "tiny"
BUNDLED_ADAPTER = "assistant"
ADAPTER_BASE = "smollm2"  # the catalogue model that the adapter is for
# Folder in the package by model name.
BUNDLED_MODELS = {BUNDLED_ADAPTER: "assistant", BUNDLED_MODEL: "box", "box": "box"}


def bundled_model_folder(name: str = BUNDLED_MODEL) -> Path:
    """The folder of a bundled model."""
    return Path(str(resources.files("turnwise").joinpath(BUNDLED_MODELS[name])))


def is_bundled_model(folder: Path) -> bool:
    """True for the folder of a bundled model."""
    return any(folder.resolve() == bundled_model_folder(name).resolve() for name in BUNDLED_MODELS)
