"""Puts the service path of scenarios before chat services."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from turnwise.chat.service_path.scenario_chat_service import ScenarioChatService
from turnwise.chat.service_path.scenario_resources import ResourceCache
from turnwise.chat.service_path.text_encoders import EmbeddingEncoder
from turnwise.core.chat_service import ChatService
from turnwise.core.embedding_service import EmbeddingService
from turnwise.core.errors import InvalidData, InvalidParameter
from turnwise.core.knowledge_service import KnowledgeService
from turnwise.core.plurals import pluralize
from turnwise.core.served_versions import AnsweringVersion
from turnwise.core.settings import Settings
from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.scenario_library import ScenarioLibrary, builtin_folder


def open_scenario_library(folders: Iterable[Path], default_scenario: str | None) -> ScenarioLibrary:
    """The built-in scenarios, those in `TURNWISE_HOME/scenarios`, and those in `folders`.

    Raises:
        InvalidParameter: a folder does not exist, or there is no scenario `default_scenario`.
        InvalidData: the scenario `default_scenario` is invalid.
    """
    folders = tuple(folders)
    for folder in folders:
        if not folder.is_dir():
            raise InvalidParameter("scenarios", f"There is no folder {folder}. --scenarios takes folders of scenarios.")
    library = ScenarioLibrary([builtin_folder(), Settings.from_environment().home / "scenarios", *folders])
    if default_scenario is not None:
        library.get(default_scenario)
    return library


def open_resources(embeddings: EmbeddingService | None, *, waits: bool = False) -> ResourceCache:
    """The classifiers of scenarios, which are kept in `TURNWISE_HOME/cache/intents`.

    Args:
        embeddings: model that recognises intents; None: words and character n-grams.
        waits: the first request to a scenario waits until its classifier is fitted.
    """
    encoder = None if embeddings is None else EmbeddingEncoder(embeddings)
    return ResourceCache(encoder, Settings.from_environment().home / "cache" / "intents", waits=waits)


async def prepare_scenarios(
    resources: ResourceCache, library: ScenarioLibrary, default_scenario: str | None, report: Callable[[str], None]
) -> None:
    """Fit the classifiers of the default scenario, and of all that do not come with the package.

    Those that come with the package are fitted when a request first names them. `report` gets a line per scenario.
    """
    definitions = await asyncio.to_thread(_load_prepared, library, default_scenario)

    def on_done(name: str, number: int, seconds: float) -> None:
        report(f"The intents of {name} are ready after {seconds:.1f} s ({number} of {len(definitions)}).")

    if definitions:
        noun = pluralize(len(definitions), "scenario")
        report(f"The intents of {noun} are fitted in the background; until then, example messages decide.")
    await resources.prepare(definitions, on_done)


def _load_prepared(library: ScenarioLibrary, default_scenario: str | None) -> list[ScenarioDefinition]:
    """The default scenario and those that do not come with the package, without invalid ones."""
    builtin = builtin_folder()
    names = [name for name in library.names() if library.folder(name).parent != builtin and name != default_scenario]
    definitions = []
    for name in [*([] if default_scenario is None else [default_scenario]), *names]:
        with suppress(InvalidData):  # GET /v1/scenarios reports it
            definitions.append(library.get(name))
    return definitions


@dataclass(frozen=True, slots=True)
class ServicePath:
    """Puts the service path before chat services.

    Attributes:
        library: the scenarios.
        resources: classifiers of the intents.
        models: served models by name, for scenarios with an adapter; read at every request.
        default_scenario: scenario of requests that name none.
        knowledge: knowledge bases by name.
        rewrites_templates: let the model rewrite template answers.
    """

    library: ScenarioLibrary
    resources: ResourceCache
    models: Mapping[str, ChatService]
    default_scenario: str | None = None
    knowledge: Mapping[str, KnowledgeService] | None = None
    rewrites_templates: bool = False

    def add(self, service: ChatService, version: AnsweringVersion | None = None) -> ScenarioChatService:
        """The same service, which answers by scenarios. `version` is stored with its answers."""
        return ScenarioChatService(
            service, self.library, default_scenario=self.default_scenario, models=self.models,
            knowledge=self.knowledge, resources=self.resources, rewrites_templates=self.rewrites_templates,
            version=version,
        )  # fmt: skip


def add_service_path(
    services: Mapping[str, ChatService],
    library: ScenarioLibrary,
    *,
    default_scenario: str | None = None,
    embeddings: EmbeddingService | None = None,
    knowledge: Mapping[str, KnowledgeService] | None = None,
    rewrites_templates: bool = False,
    resources: ResourceCache | None = None,
) -> dict[str, ChatService]:
    """The same services, which answer by scenarios.

    Args:
        services: chat services by served name.
        library: the scenarios.
        default_scenario: scenario of requests that name none.
        embeddings: model that recognises intents; None: words and character n-grams.
        knowledge: knowledge bases by name.
        rewrites_templates: let the model rewrite template answers.
        resources: classifiers of the intents; default: `open_resources(embeddings)`.
    """
    path = ServicePath(
        library, resources or open_resources(embeddings), services, default_scenario, knowledge, rewrites_templates
    )
    return {name: path.add(service) for name, service in services.items()}
