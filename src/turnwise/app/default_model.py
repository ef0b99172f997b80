"""The model that commands use if none is named, and the bundled one in its place while it has not been pulled."""

from turnwise.models.bundled_models import BUNDLED_MODEL
from turnwise.models.stored_models import stored_model_folder

FALLBACK_MODEL = BUNDLED_MODEL  # comes with the package and needs nothing else
DEFAULT_MODEL = "smollm2"


def is_default_missing() -> bool:
    """True if the default model has not been pulled."""
    return stored_model_folder(DEFAULT_MODEL) is None


def default_model_name() -> str:
    """Name of the default model; of the fallback model if the default has not been pulled."""
    return FALLBACK_MODEL if is_default_missing() else DEFAULT_MODEL


def fallback_note() -> str | None:
    """A sentence for the user if the fallback model is used instead of the default model, else None."""
    if not is_default_missing():
        return None
    return (
        f"The default model, {DEFAULT_MODEL}, is not on this machine; using the small model '{FALLBACK_MODEL}' "
        "instead. To get the default: turnwise models pull --default"
    )
