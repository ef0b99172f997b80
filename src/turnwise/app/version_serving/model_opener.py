"""Opens the chat models of a server, with their versions where the registry has some."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

from turnwise.app.chat_services import default_served_name
from turnwise.app.model_names import resolve_model_folder
from turnwise.app.model_versions.version_library import VersionLibrary, open_version_library
from turnwise.app.model_versions.version_reference import parse_reference
from turnwise.app.scenario_services import ServicePath
from turnwise.app.version_serving.version_control import VerifiedVersionControl
from turnwise.app.version_serving.version_loader import open_version
from turnwise.app.version_serving.version_supervisor import VersionSupervisor
from turnwise.chat.service import EngineChatService
from turnwise.chat.versions.canary_watch import RateTest
from turnwise.core.chat_service import ChatService
from turnwise.core.errors import InvalidParameter
from turnwise.core.files import path_exists
from turnwise.core.model_versions import ModelVersion
from turnwise.core.served_versions import AnsweringVersion
from turnwise.core.settings import Settings

# (folder, served model name, version) → the chat service, open until the block ends
OpenChatModel = Callable[[Path, str, AnsweringVersion | None], AbstractContextManager[EngineChatService]]


class ModelOpener:
    """Opens models one after the other.

    Attributes:
        services: what answers requests, by served name.
        models: the same without scenarios. A `ServicePath` can have this mapping before it is filled.
        supervisors: those of the models with versions, by served name.
    """

    def __init__(self, stack: ExitStack, open_model: OpenChatModel, library: VersionLibrary | None) -> None:
        """Prepare to open models.

        Args:
            stack: closes them.
            open_model: opens a chat service for a folder.
            library: the versions of models; None: there are none, or they are not used.
        """
        self._stack, self._open_model, self._library = stack, open_model, library
        self.services: dict[str, ChatService] = {}
        self.models: dict[str, ChatService] = {}
        self.supervisors: dict[str, VersionSupervisor] = {}

    @property
    def control(self) -> VerifiedVersionControl | None:
        """Promotes versions, and lets the supervisors follow at once; None without versions."""
        return None if self._library is None else VerifiedVersionControl(self._library, self._look_now)

    def open(self, model: str | None, name: str | None, path: ServicePath) -> str:
        """Open a model, or the versions of the model that is served by its name. Returns the served name.

        Args:
            model: as `resolve_model_folder` accepts it. A reference such as NAME@3 is that version for good.
            name: served name; default: that of the folder.
            path: scenarios, which are put before the model.

        Raises:
            InvalidParameter: another model has the name.
            UserError: the model or the serving version cannot be loaded.
        """
        folder = resolve_model_folder(model)
        version = self._referenced_version(model)
        served_name = name or (default_served_name(folder) if version is None else version.content.model)
        if served_name in self.services:
            raise InvalidParameter(
                "adapter", f"Two models have the name '{served_name}'. Give the adapter another name."
            )
        if version is None and self._library is not None and self._library.registry.routing(served_name) is not None:
            self._open_versions(self._library, served_name, path)
            return served_name
        answering = None if version is None else AnsweringVersion.of(version)
        service = self._stack.enter_context(self._open_model(folder, served_name, answering))
        self.models[served_name], self.services[served_name] = service, path.add(service, answering)
        return served_name

    def _referenced_version(self, model: str | None) -> ModelVersion | None:
        reference = None if model is None or path_exists(Path(model)) else parse_reference(model)
        return None if reference is None or self._library is None else self._library.get(reference)

    def _open_versions(self, library: VersionLibrary, name: str, path: ServicePath) -> None:
        supervisor = VersionSupervisor(
            library.registry, name, partial(open_version, library, self._open_model), add_path=path.add,
            new_test=_new_test,
        )  # fmt: skip
        self.supervisors[name] = self._stack.enter_context(supervisor)
        self.models[name], self.services[name] = supervisor.model, supervisor.service

    def _look_now(self) -> None:
        for supervisor in self.supervisors.values():
            supervisor.look_now()


@contextmanager
def open_existing_library() -> Iterator[VersionLibrary | None]:
    """Open the versions of this TURNWISE_HOME until the block ends; None if there is no registry yet."""
    path = Path(Settings.from_environment().registry_url.removeprefix("sqlite:///"))
    if not path_exists(path):
        yield None
        return
    with open_version_library() as library:
        yield library


def _new_test() -> RateTest:
    from turnwise.app.version_serving.canary_test import OddsRatioRateTest  # imports scipy

    return OddsRatioRateTest()
