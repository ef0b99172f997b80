"""Puts the service path of scenarios before chat services."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from turnwise.chat.service_path.scenario_chat_service import ScenarioChatService
from turnwise.chat.service_path.scenario_resources import ResourceCache
from turnwise.chat.service_path.text_encoders import EmbeddingEncoder
from turnwise.core.chat_service import ChatService
from turnwise.core.embedding_service import EmbeddingService
from turnwise.core.errors import InvalidParameter
from turnwise.core.knowledge_service import KnowledgeService
from turnwise.core.settings import Settings
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


def add_service_path(
    services: Mapping[str, ChatService],
    library: ScenarioLibrary,
    *,
    default_scenario: str | None = None,
    embeddings: EmbeddingService | None = None,
    knowledge: Mapping[str, KnowledgeService] | None = None,
    rewrites_templates: bool = False,
) -> dict[str, ChatService]:
    """The same services, which answer by scenarios.

    Args:
        services: chat services by served name.
        library: the scenarios.
        default_scenario: scenario of requests that name none.
        embeddings: model that recognises intents; None: words and character n-grams.
        knowledge: knowledge bases by name.
        rewrites_templates: let the model rewrite template answers.
    """
    resources = ResourceCache(None if embeddings is None else EmbeddingEncoder(embeddings))
    return {
        name: ScenarioChatService(
            service, library, default_scenario=default_scenario, models=services, knowledge=knowledge,
            resources=resources, rewrites_templates=rewrites_templates,
        )
        for name, service in services.items()
    }  # fmt: skip
