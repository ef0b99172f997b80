"""The model that commands use if none is named, and the bundled one in its place while its base has not been pulled."""

from turnwise.models.bundled_models import ADAPTER_BASE, BUNDLED_ADAPTER, BUNDLED_MODEL
from turnwise.models.stored_models import stored_model_folder

FALLBACK_MODEL = BUNDLED_MODEL  # comes with the package and needs nothing else
DEFAULT_MODEL = BUNDLED_ADAPTER
REQUIRED_MODEL = ADAPTER_BASE


def is_default_missing() -> bool:
    """True if the model that the default model needs has not been pulled."""
    return stored_model_folder(REQUIRED_MODEL) is None


def default_model_name() -> str:
    """Name of the default model; of the fallback model if the default cannot be used yet."""
    return FALLBACK_MODEL if is_default_missing() else DEFAULT_MODEL


def fallback_note() -> str | None:
    """A sentence for the user if the fallback model is used instead of the default model, else None."""
    if not is_default_missing():
        return None
    return (
        f"The default model, {DEFAULT_MODEL}, needs {REQUIRED_MODEL}, which is not on this machine; using the small "
        f"model '{FALLBACK_MODEL}' instead. To get the default: turnwise models pull --default"
    )
