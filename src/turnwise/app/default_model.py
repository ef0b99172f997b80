"""The model that commands use if none is named, and the bundled one in its place while it has not been pulled."""

from collections.abc import Mapping, Sequence

from turnwise.models.bundled_models import BUNDLED_MODEL
from turnwise.models.stored_models import stored_model_folder

FALLBACK_MODEL = BUNDLED_MODEL  # comes with the package and needs nothing else
DEFAULT_MODEL = "smollm2"
REQUIRED_MODELS: Mapping[str, Sequence[str]] = {  # models of the catalogue that a default model needs
    DEFAULT_MODEL: ("smollm2",),
    BUNDLED_MODEL: (),
}


def missing_models() -> list[str]:
    """Models of the catalogue that the default model needs and that have not been pulled."""
    return [name for name in REQUIRED_MODELS[DEFAULT_MODEL] if stored_model_folder(name) is None]


def default_model_name() -> str:
    """Name of the default model; of the fallback model if what it needs has not been pulled."""
    return FALLBACK_MODEL if missing_models() else DEFAULT_MODEL


def fallback_note() -> str | None:
    """A sentence for the user if the fallback model is used instead of the default model, else None."""
    missing = missing_models()
    if not missing:
        return None
    return (
        f"The default model needs {' and '.join(missing)}, which is not on this machine; using the small model "
        f"'{FALLBACK_MODEL}' instead. To get the default: turnwise models pull --default"
    )
