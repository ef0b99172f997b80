"""The classifier of sentiment that a monitor uses if its configuration names none."""

from turnwise.app.model_names import resolve_model_folder
from turnwise.core.errors import ModelNotFound
from turnwise.models.bundled_models import find_bundled_model

DEFAULT_CLASSIFIER = "financial-sentiment"
NO_CLASSIFIER = "none"


def sentiment_classifier(configured: str | None) -> tuple[str | None, str | None]:
    """The model that labels sentiment, and a sentence for the user about it.

    Args:
        configured: a model folder or name; "none": texts without a label stay without one. None: the bundled
            classifier, if its base model has been pulled.

    Returns:
        The model, or None without one. The sentence is None if nothing has to be explained.
    """
    if configured is not None:
        return (None, None) if configured == NO_CLASSIFIER else (configured, None)
    if find_bundled_model(DEFAULT_CLASSIFIER) is None:  # the package was built without it
        return None, None
    try:
        resolve_model_folder(DEFAULT_CLASSIFIER)
    except ModelNotFound as error:
        return None, f"Texts get no sentiment. {error} Or name another one with --classifier."
    return DEFAULT_CLASSIFIER, f"Sentiment: {DEFAULT_CLASSIFIER}. --classifier {NO_CLASSIFIER} turns it off."
