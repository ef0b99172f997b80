"""The base version of a model: the bundled or pulled model itself, which trainings start from.

An update of the package, or another pull, replaces the weights of a bundled or pulled model. The new weights become a
version of their own. They serve at once if the version that served cannot be loaded any more, as the old weights
themselves and the adapters that were trained on them. A version with weights of its own goes on serving, and the next
cycle compares what it trains from the new weights with it.
"""

import logging

from turnwise.app.model_names import named_model_folder
from turnwise.app.model_versions.version_library import (
    VersionLibrary,
    default_source,
    served_model_name,
)
from turnwise.core.errors import ModelNotFound, TurnwiseError
from turnwise.core.model_versions import ModelVersion, NewVersion
from turnwise.models.model_folders import weights_digest

log = logging.getLogger("turnwise.versions")


def find_base(library: VersionLibrary, model: str) -> ModelVersion | None:
    """The version of the present weights of a bundled or pulled model; for other models, the first one with weights.

    Returns None if there is no such version, as after an update that is not registered yet.
    """
    model = served_model_name(model)
    versions = [version for version in library.registry.list(model) if not version.is_erased]
    source = default_source(model)
    if source is None:
        return next((version for version in versions if version.content.parent is None), None)
    digest = weights_digest(named_model_folder(source))
    named = (version for version in reversed(versions) if library.own_folder(version) is None)
    return next((version for version in named if version.content.weights_sha256 == digest), None)


def ensure_base(library: VersionLibrary, model: str) -> ModelVersion:
    """The version that trainings start from. New weights of a bundled or pulled model are registered.

    Raises:
        ModelNotFound: there is no such model, or the weights of all its versions are deleted.
        SaveFailed, Unavailable: the registry cannot be written, or another process is adding a version.
    """
    model = served_model_name(model)
    first = library.ensure_first(model)
    if (base := find_base(library, model)) is not None:
        return base
    source = default_source(model)
    if source is None:
        raise ModelNotFound(f"The weights of all versions of {model} are deleted. Add one: turnwise models add {model}")
    with library.lock(model):
        if (base := find_base(library, model)) is not None:  # another process was faster
            return base
        return _register(library, first, source)


def _register(library: VersionLibrary, first: ModelVersion, source: str) -> ModelVersion:
    """Add the present weights of a named model, and let them serve if the version that serves cannot be loaded."""
    model = first.content.model
    routing = library.registry.routing(model)
    content = NewVersion(model, source, weights_digest(named_model_folder(source)))
    reason = f"The model {source} was updated: its weights are others than those of the versions before."
    base = library.registry.add(content, reason=reason, actor="update")
    if routing is not None and not can_load(library, routing.serving):
        reason = f"{routing.serving.reference} cannot be loaded since the model {source} was updated."
        base = library.registry.change_state(model, base.number, "serving", actor="update", reason=reason)
    log.warning("%s has the new weights of the model %s. %s", base.reference, source, reason)
    return base


def can_load(library: VersionLibrary, version: ModelVersion) -> bool:
    """True if the weights of a version are those of its record, and those of its base model too."""
    try:
        library.verified_folder(version)
    except (TurnwiseError, OSError):
        return False
    return True
