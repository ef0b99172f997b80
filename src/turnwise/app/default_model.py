"""The model that commands use if none is named, and the bundled one in its place while it cannot be used yet."""

from turnwise.models.bundled_models import BUNDLED_MODEL, find_bundled_model
from turnwise.models.stored_models import stored_model_folder

FALLBACK_MODEL = BUNDLED_MODEL  # comes with the package and needs nothing else
DEFAULT_MODEL = "assistant"  # a model of the catalogue, or a bundled adapter of one


def default_pull() -> str:
    """The model to pull for the default model: its base if it is a bundled adapter, else the model itself."""
    bundled = find_bundled_model(DEFAULT_MODEL)
    return DEFAULT_MODEL if bundled is None or bundled.base is None else bundled.base


def is_default_missing() -> bool:
    """True if the model that the default model needs has not been pulled."""
    return stored_model_folder(default_pull()) is None


def default_model_name() -> str:
    """Name of the default model; of the fallback model if the default cannot be used yet."""
    return FALLBACK_MODEL if is_default_missing() else DEFAULT_MODEL


def fallback_note() -> str | None:
    """A sentence for the user if the fallback model is used instead of the default model, else None."""
    if not is_default_missing():
        return None
    base = default_pull()
    need = "" if base == DEFAULT_MODEL else f"needs {base}, which "
    return (
        f"The default model, {DEFAULT_MODEL}, {need}is not on this machine; using the small model '{FALLBACK_MODEL}' "
        "instead. To get the default: turnwise models pull --default"
    )
