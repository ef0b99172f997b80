"""References to versions: NAME@3, NAME@stable (the serving version) and NAME@latest (the newest one)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from turnwise.core.errors import InvalidParameter, NotFound
from turnwise.core.folder_names import decode_folder_name
from turnwise.core.model_versions import ModelRegistry, ModelVersion
from turnwise.core.settings import Settings
from turnwise.core.version_rules import MODEL_NAME, find_version

_REFERENCE = re.compile(rf"(?P<model>{MODEL_NAME.pattern})@(?P<label>[1-9]\d{{0,8}}|stable|latest)")


@dataclass(frozen=True, slots=True)
class VersionReference:
    """A reference to a version of a model.

    Attributes:
        model: served model name.
        label: a number, "stable" or "latest".
    """

    model: str
    label: str

    def __str__(self) -> str:
        return f"{self.model}@{self.label}"


def parse_reference(text: str) -> VersionReference | None:
    """Parse NAME@NUMBER, NAME@stable or NAME@latest; None for another form."""
    match = _REFERENCE.fullmatch(text)
    return None if match is None else VersionReference(match["model"], match["label"])


def required_reference(text: str) -> VersionReference:
    """Parse a reference. Raises `InvalidParameter` for another form."""
    reference = parse_reference(text)
    if reference is None:
        raise InvalidParameter(
            "version", f"'{text[:60]}' is no version of a model. Write NAME@NUMBER, NAME@stable or NAME@latest."
        )
    return reference


def resolve_reference(registry: ModelRegistry, reference: VersionReference) -> ModelVersion:
    """The version that a reference stands for.

    Raises:
        NotFound: the model has no versions, or none with this number, that serves (stable), or with weights (latest).
    """
    versions = registry.list(reference.model)
    if not versions:
        raise NotFound(f"{reference.model} has no versions.{_model_hint(registry.models())}")
    if reference.label == "stable":
        serving = next((version for version in versions if version.state == "serving"), None)
        if serving is None:
            raise NotFound(not_serving_message(reference.model))
        return serving
    if reference.label == "latest":
        usable = [version for version in versions if not version.is_erased]
        if not usable:
            raise NotFound(f"The weights of all versions of {reference.model} are deleted.")
        return usable[-1]
    return find_version(reference.model, versions, int(reference.label))


def not_serving_message(model: str) -> str:
    """What to do about a model whose serving version was deleted and had no successor, as after an erasure."""
    return (
        f"No version of {model} serves: the last one was deleted (turnwise models history {model}). Add or promote "
        "another one."
    )


def model_of_version_folder(folder: Path) -> str | None:
    """The served model name for a folder of a version in `TURNWISE_HOME/versions`; None for another folder."""
    parent = folder.resolve().parent
    is_version = parent.parent == Settings.from_environment().versions.resolve()
    return decode_folder_name(parent.name) if is_version else None


def _model_hint(models: Sequence[str]) -> str:
    return f" Models with versions: {', '.join(models)}." if models else ""
