"""A saved discriminator: the folder of a classifier with the one label "human"."""

from pathlib import Path

from turnwise.core.errors import UserError
from turnwise.models.classifier_config import ClassifierConfig, TextPooling, is_classifier, read_classifier_config

DISCRIMINATOR_FOLDER = "discriminator"  # in the folder of the model that was trained against it
HUMAN_LABEL = "human"


def discriminator_config(pooling: TextPooling) -> ClassifierConfig:
    """The configuration of a new discriminator, whose score is the logit of the label."""
    return ClassifierConfig("sequence_classification", (HUMAN_LABEL,), is_multi_label=True, pooling=pooling)


def check_discriminator(folder: Path) -> None:
    """Raise `UserError` if a folder holds no discriminator, or a damaged `classifier.json`."""
    if is_classifier(folder):
        config = read_classifier_config(folder)
        if config.task == "sequence_classification" and config.labels == (HUMAN_LABEL,) and config.is_multi_label:
            return
        raise UserError(f"The classifier in {folder} is no discriminator: its only label must be '{HUMAN_LABEL}'.")
    raise UserError(f"{folder} holds no discriminator; `turnwise train --objective adversarial` trains one.")


def find_discriminator(model: Path) -> Path:
    """The discriminator in a model folder.

    Raises:
        UserError: the model has none.
    """
    folder = model / DISCRIMINATOR_FOLDER
    if not folder.is_dir():
        raise UserError(
            f"{model} has no discriminator, which ranks the choices of 'best_of'. Train the model with "
            "`turnwise train --objective adversarial` or best_of_n, or leave --best-of discriminator out."
        )
    check_discriminator(folder)
    return folder
