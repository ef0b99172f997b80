"""Opens the chat models of a server, with their versions where the registry has some."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path

from turnwise.app.chat_services import default_served_name
from turnwise.app.model_names import resolve_model_folder
from turnwise.app.model_versions.base_versions import ensure_base
from turnwise.app.model_versions.version_library import VersionLibrary, open_version_library
from turnwise.app.model_versions.version_reference import not_serving_message, parse_reference
from turnwise.app.scenario_services import ServicePath
from turnwise.app.version_serving.version_control import VerifiedVersionControl
from turnwise.app.version_serving.version_loader import open_version
from turnwise.app.version_serving.version_supervisor import VersionSupervisor
from turnwise.chat.service import EngineChatService
from turnwise.core.chat_service import ChatService
from turnwise.core.errors import InvalidParameter, NotFound, TurnwiseError
from turnwise.core.files import path_exists
from turnwise.core.model_versions import ModelVersion
from turnwise.core.served_versions import AnsweringVersion
from turnwise.core.settings import Settings
from turnwise.core.version_rules import earlier_versions
from turnwise.models.model_folders import weights_digest

# (folder, served model name, version) → the chat service, open until the block ends
OpenChatModel = Callable[[Path, str, AnsweringVersion | None], AbstractContextManager[EngineChatService]]

log = logging.getLogger("turnwise.server")


class ModelOpener:
    """Opens models one after the other.

    Attributes:
        services: what answers requests, by served name.
        models: the same without scenarios. A `ServicePath` can have this mapping before it is filled.
        supervisors: those of the models with versions, by served name.
        ignored: folders that are not served, because the registry has other versions of the name; by served name.
    """

    def __init__(self, stack: ExitStack, open_model: OpenChatModel, *, uses_versions: bool = True) -> None:
        """Prepare to open models.

        Args:
            stack: closes them.
            open_model: opens a chat service for a folder.
            uses_versions: follow the registry; else only a reference such as NAME@3 opens a version.
        """
        self._stack, self._open_model, self._uses_versions = stack, open_model, uses_versions
        self._library = open_existing_library(stack) if uses_versions else None
        self._adopted_revision = 0
        self._pinned: set[str] = set()  # served names of models that stay as they are
        self.services: dict[str, ChatService] = {}
        self.models: dict[str, ChatService] = {}
        self.supervisors: dict[str, VersionSupervisor] = {}
        self.ignored: dict[str, Path] = {}

    @property
    def control(self) -> VerifiedVersionControl | None:
        """Promotes versions, and lets the supervisors follow at once; None if versions are not used."""
        return VerifiedVersionControl(self._opened_library, self._look_now) if self._uses_versions else None

    def _opened_library(self) -> VersionLibrary:
        if self._library is None:
            raise NotFound("The models of this server have no versions.")
        return self._library

    def open(self, model: str | None, name: str | None, path: ServicePath) -> str:
        """Open a model, or the versions of the model that is served by its name. Returns the served name.

        Args:
            model: as `resolve_model_folder` accepts it. A reference such as NAME@3 is that version for good.
            name: served name; default: that of the folder.
            path: scenarios, which are put before the model.

        Raises:
            InvalidParameter: another model has the name.
            UserError: the model, or all of its versions that served, cannot be loaded.
        """
        folder = resolve_model_folder(model)
        version = self._referenced_version(model)
        served_name = name or (default_served_name(folder) if version is None else version.content.model)
        if served_name in self.services:
            raise InvalidParameter(
                "adapter", f"Two models have the name '{served_name}'. Give the adapter another name."
            )
        if version is not None or not self._uses_versions:
            self._pinned.add(served_name)
        elif self._open_versions(self._stack, served_name, path):
            if not self._is_version(served_name, folder):
                self.ignored[served_name] = folder
            return served_name
        answering = None if version is None else AnsweringVersion.of(version)
        service = self._stack.enter_context(self._open_model(folder, served_name, answering))
        self.models[served_name], self.services[served_name] = service, path.add(service, answering)
        return served_name

    def adopt_versions(self, stack: ExitStack, path: ServicePath) -> None:
        """Open the versions of models that had none when they were opened. Called by a thread, again and again.

        What answered before stays open, because it may still answer requests; the first version usually is the same
        model, which is in memory once.

        Raises:
            TurnwiseError: a serving version cannot be loaded. It is tried again after the next change of the registry.
        """
        if not self._uses_versions:
            return
        if self._library is None:
            self._library = open_existing_library(stack)
        if self._library is None or self._library.registry.revision() == self._adopted_revision:
            return
        self._adopted_revision = self._library.registry.revision()
        errors = []
        for name in sorted(self.services.keys() - self._pinned - self.supervisors.keys()):
            try:
                self._open_versions(stack, name, path)
            except TurnwiseError as error:  # the versions of the others are used all the same
                errors.append(error)
        if errors:
            raise errors[0]

    def _is_version(self, name: str, folder: Path) -> bool:
        """True if a folder has the weights of a version."""
        versions = () if self._library is None else self._library.registry.list(name)
        return weights_digest(folder) in {version.content.weights_sha256 for version in versions}

    def _referenced_version(self, model: str | None) -> ModelVersion | None:
        reference = None if model is None or path_exists(Path(model)) else parse_reference(model)
        if reference is None:
            return None
        if self._library is None:
            self._library = open_existing_library(self._stack)
        return None if self._library is None else self._library.get(reference)

    def _open_versions(self, stack: ExitStack, name: str, path: ServicePath) -> bool:
        """Open the versions of a model. Returns False if it has none.

        Raises:
            NotFound: it has versions, and none of them serves.
            UserError: none that served can be loaded.
        """
        library = self._library
        if library is None or not library.registry.list(name):
            return False
        fallbacks = self._fallbacks(library, name)
        if library.registry.routing(name) is None:
            raise NotFound(not_serving_message(name))
        from turnwise.app.version_serving.canary_test import OddsRatioRateTest  # imports scipy

        supervisor = VersionSupervisor(
            library.registry, name, partial(open_version, library, self._open_model), fallbacks=fallbacks,
            add_path=path.add, new_test=OddsRatioRateTest,
        )  # fmt: skip
        self.supervisors[name] = stack.enter_context(supervisor)
        self.models[name], self.services[name] = supervisor.model, supervisor.service
        return True

    def _fallbacks(self, library: VersionLibrary, name: str) -> list[ModelVersion]:
        """Versions that answer if the serving one cannot be loaded: those that served before, then the base version.

        New weights of a bundled or pulled model are registered first.
        """
        bases = []
        try:
            bases.append(ensure_base(library, name))
        except TurnwiseError as error:  # the other versions can be used all the same
            log.warning("The base model of %s cannot be used. %s", name, error)
        earlier = earlier_versions(library.registry.list(name), library.registry.events(name))
        return [*earlier, *(base for base in bases if base.number not in {version.number for version in earlier})]

    def _look_now(self) -> None:
        for supervisor in list(self.supervisors.values()):  # another thread may add some
            supervisor.look_now()


def open_existing_library(stack: ExitStack) -> VersionLibrary | None:
    """Open the versions of this TURNWISE_HOME until `stack` is closed; None if there is no registry yet."""
    path = Path(Settings.from_environment().registry_url.removeprefix("sqlite:///"))
    return stack.enter_context(open_version_library()) if path_exists(path) else None
