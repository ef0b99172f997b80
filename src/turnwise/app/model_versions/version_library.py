"""The registry of versions together with their folders: no damaged version is ever promoted, served or rolled back to.

A trained version is in `TURNWISE_HOME/versions/MODEL/NUMBER` (`core/folder_names.py`). The first version of a model is
usually a bundled or stored model, which is not copied: its source is the name of that model.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from turnwise.app.model_names import named_model_folder
from turnwise.app.model_versions.version_reference import (
    VersionReference,
    no_versions_message,
    resolve_reference,
)
from turnwise.app.scope_files import read_scope, scope_base_folder
from turnwise.core.errors import (
    ModelNotFound,
    NotFound,
    SaveFailed,
    TurnwiseError,
    Unavailable,
    UserError,
    VersionConflict,
)
from turnwise.core.file_lock import FileLock, LockTimeout
from turnwise.core.folder_names import folder_name
from turnwise.core.model_versions import Actor, ModelRegistry, ModelVersion, NewVersion, VersionState
from turnwise.core.settings import Settings
from turnwise.core.version_rules import SINGLE_STATES, check_model_name, earlier_versions, rollback_target
from turnwise.models.adapter_config import adapter_base_folder, is_adapter
from turnwise.models.bundled_models import BundledModel, find_bundled_model
from turnwise.models.model_folders import weights_digest
from turnwise.models.stored_models import HUB_PREFIX, stored_model_folder

SERVED_PREFIX = "turnwise-"  # of the served names of bundled models


@dataclass(frozen=True, slots=True)
class VersionLibrary:
    """Versions of models with their folders.

    Attributes:
        registry: their records.
        root: folder of the trained versions.
    """

    registry: ModelRegistry
    root: Path

    def get(self, reference: VersionReference) -> ModelVersion:
        """The version that a reference stands for. The first version of a bundled or stored model is registered.

        Raises:
            NotFound: there is no such version.
        """
        model = served_model_name(reference.model)
        if default_source(model) is not None:
            self.ensure_first(model)
        return resolve_reference(self.registry, VersionReference(model, reference.label))

    def versioned_model(self, name: str) -> str:
        """The name of a model as in its versions. The first version of a bundled or stored model is registered.

        Raises:
            NotFound: the model has no versions.
        """
        model = served_model_name(name)
        if default_source(model) is not None:
            self.ensure_first(model)
        if not self.registry.list(model):
            raise NotFound(no_versions_message(model, self.registry.models()))
        return model

    def folder(self, version: ModelVersion) -> Path:
        """The folder of a version, without a check of its content.

        Raises:
            ModelNotFound: its weights are deleted, or there is no such folder.
        """
        if version.is_erased:
            raise ModelNotFound(f"The weights of {version.reference} are deleted.")
        if (folder := self.own_folder(version)) is None:
            source = version.content.source
            return named_model_folder(source)
        if not folder.is_dir():
            raise ModelNotFound(f"The folder of {version.reference} is missing: {folder}.")
        return folder

    def model_folder(self, model: str) -> Path:
        """The folder of the trained versions of a model."""
        return self.root / folder_name(model)

    def own_folder(self, version: ModelVersion) -> Path | None:
        """The path of a version's folder; None if its source is the name of a bundled or stored model."""
        source = version.content.source
        return None if "/" not in source or source.startswith(HUB_PREFIX) else self.root / source

    def has_deletable_folder(self, version: ModelVersion) -> bool:
        """True if the folder of a version exists and is one of those of the library."""
        folder = self.own_folder(version)
        return folder is not None and folder.resolve().is_relative_to(self.root.resolve()) and folder.is_dir()

    def verified_folder(self, version: ModelVersion) -> Path:
        """The folder of a version, after a comparison of its weights with the record.

        Raises:
            ModelNotFound: as `folder` does; or it is an adapter whose base model is missing.
            UserError: the weights, or those of its base model, have changed since the version was added.
        """
        folder = self.folder(version)
        is_copied = self.own_folder(version) is not None
        if weights_digest(folder) != version.content.weights_sha256:
            remedy = (
                f"`turnwise models rebuild {version.reference}` can train it again; a changed model can be added as a "
                "new version."
                if is_copied
                else "An update has replaced them; `turnwise serve` and `turnwise improve` register the new ones as a "
                "version of their own."
            )
            raise UserError(
                f"The weights in {folder} are not those of {version.reference}: they are damaged or were changed, so "
                f"the version is not used. {remedy}"
            )
        if is_copied and is_adapter(folder):
            adapter_base_folder(folder)  # raises if its base model is missing or has changed
        if (scope := read_scope(folder)) is not None:
            scope_base_folder(folder, scope)  # likewise
        return folder

    def ensure_first(self, model: str, source: str | None = None) -> ModelVersion:
        """The first version of a model; it is registered if the model has no versions.

        Args:
            model: served model name.
            source: folder or name of the model. Default: the bundled or stored model that is served by this name.

        Raises:
            ModelNotFound: there is no such model.
        """
        model = served_model_name(model)
        if versions := self.registry.list(model):
            return versions[0]
        source = source or default_source(model)
        if source is None:
            raise ModelNotFound(f"{model[:60]} has no versions, and no bundled or pulled model has this name.")
        folder = named_model_folder(source)
        if "/" in source and not source.startswith(HUB_PREFIX):
            source = str(folder.absolute())
        with self.lock(model):
            if versions := self.registry.list(model):
                return versions[0]
            content = NewVersion(model, source, weights_digest(folder))
            return self.registry.add(content, reason=f"The first version is the model {source}.")

    def change_state(
        self, version: ModelVersion, state: VersionState, *, actor: Actor, reason: str, share: float = 0.0
    ) -> ModelVersion:
        """Change the state of a version. Its weights are verified before it gets requests.

        Raises as `verified_folder` and `ModelRegistry.change_state` do.
        """
        if state in SINGLE_STATES:
            self.verified_folder(version)
        return self.registry.change_state(
            version.content.model, version.number, state, actor=actor, reason=reason, share=share
        )

    def roll_back(self, model: str, *, actor: Actor, reason: str) -> ModelVersion:
        """Roll back a model, after a check of the weights that will serve.

        Raises as `verified_folder` and `ModelRegistry.roll_back` do.
        """
        self._verify_rollback_target(model)
        return self.registry.roll_back(model, actor=actor, reason=reason)

    def erase(
        self,
        version: ModelVersion,
        *,
        reason: str,
        may_end_service: bool = False,
        successor: ModelVersion | None = None,
    ) -> ModelVersion:
        """Retire a version and delete its folder, with weights and training data. A model by name is not deleted.

        If it serves, the latest version that served before and can be loaded serves again. The registry is changed
        first: nobody can use a version that is half deleted. The same call deletes what an interrupted one has left.

        Args:
            version: the version.
            reason: why, as a sentence.
            may_end_service: erase it also if it serves and no other version can be loaded.
            successor: serves if no version that served before can be loaded.

        Raises:
            VersionConflict: it serves, no other version served before, and the service may not end.
            UserError: the same, and the weights of those that served before are damaged.
            SaveFailed: a file could not be deleted; the version is retired all the same.
        """
        version = self.registry.get(version.content.model, version.number)
        if version.state == "serving":
            self._replace(version, reason, successor, may_end_service=may_end_service)
        erased = self.registry.mark_erased(version.content.model, version.number, reason=reason)
        if self.has_deletable_folder(version):
            folder = self.root / version.content.source
            try:
                shutil.rmtree(folder)
            except OSError as error:
                raise SaveFailed(
                    f"{version.reference} is retired, but {error.filename} could not be deleted: "
                    f"{error.strerror or error}. Delete {folder}."
                ) from error
        return erased

    def _replace(
        self, serving: ModelVersion, reason: str, successor: ModelVersion | None, *, may_end_service: bool
    ) -> None:
        """Let the latest earlier version serve that can be loaded, else the successor."""
        model = serving.content.model
        problem: TurnwiseError | None = None
        earlier = earlier_versions(self.registry.list(model), self.registry.events(model))
        for version in (*earlier, *(() if successor is None else (successor,))):
            try:
                self.change_state(version, "serving", actor="person", reason=reason)
            except TurnwiseError as error:
                problem = problem or error
            else:
                return
        if not may_end_service:
            raise problem or VersionConflict(
                f"{serving.reference} serves, and no other version served before. Promote another version first."
            )

    def _verify_rollback_target(self, model: str) -> None:
        target = rollback_target(self.registry.list(model), self.registry.events(model))
        if target is not None:
            self.verified_folder(target)

    @contextmanager
    def lock(self, model: str) -> Iterator[None]:
        """Let one process at a time add versions of a model.

        Raises `InvalidParameter` for a name that cannot have versions, `Unavailable` and `SaveFailed`.
        """
        check_model_name(model)  # it is part of paths
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = FileLock(self.root / f".{folder_name(model)}.lock")
        except OSError as error:
            raise SaveFailed(f"Could not write in {self.root}: {error.strerror or error}.") from error
        try:
            with lock:
                yield
        except LockTimeout as error:
            raise Unavailable(f"Another process is adding a version of {model}. Try again soon.") from error
        finally:
            lock.close()


@contextmanager
def open_version_library() -> Iterator[VersionLibrary]:
    """Open the versions of this TURNWISE_HOME, and close the registry at the end of the block."""
    from turnwise.store import open_model_registry

    settings = Settings.from_environment()
    registry = open_model_registry(settings.registry_url)
    try:
        yield VersionLibrary(registry, settings.versions)
    finally:
        registry.close()


def default_source(model: str) -> str | None:
    """The name of the bundled or stored model that is served by a name; None if there is none."""
    if (bundled := _bundled_model(model)) is not None:
        return bundled.name
    return model if stored_model_folder(model) is not None else None


def served_model_name(name: str) -> str:
    """The name that a model is served by, and that its versions have: "turnwise-assistant" for "assistant"."""
    bundled = _bundled_model(name)
    return name if bundled is None else f"{SERVED_PREFIX}{bundled.path.name}"


def _bundled_model(name: str) -> BundledModel | None:
    return find_bundled_model(name) or find_bundled_model(name.removeprefix(SERVED_PREFIX))
