"""Checks of the options of `turnwise serve`, before the first model is loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from turnwise.cli.serve_options import AuxiliaryModelOptions, ServeOptions
    from turnwise.core.api_keys import KeyStore
    from turnwise.core.key_usage import KeyUsageStore
    from turnwise.scenarios.scenario_library import ScenarioLibrary


@dataclass(frozen=True, slots=True)
class CheckedOptions:
    """Values of options that had to be read.

    Attributes:
        system_prompt: text of `--prompt-template`; None without one.
        origins: origins of web pages that may use the API.
        keys: API keys.
        has_keys: True if there are any.
        key_usage: usage of the keys; None if their backend stores none.
        adapters: folders of further models by served name.
        scenarios: the scenarios.
        knowledge: names or folders of knowledge bases, by the name in requests.
        classifiers: models of classifiers by served name.
    """

    system_prompt: str | None
    origins: Sequence[str]
    keys: "KeyStore"
    has_keys: bool
    key_usage: "KeyUsageStore | None"
    adapters: Mapping[str, str]
    scenarios: "ScenarioLibrary"
    knowledge: Mapping[str, str]
    classifiers: Mapping[str, str]


def check_options(model: str | None, options: "ServeOptions", sampling: Mapping[str, Any]) -> CheckedOptions:
    """Read and check the options, and resolve the folders of all models. Raises `UserError`."""
    from turnwise.app.knowledge.served_base import parse_knowledge
    from turnwise.app.model_names import resolve_model_folder
    from turnwise.app.prompts.library import render_prompt
    from turnwise.app.scenario_services import open_scenario_library
    from turnwise.cli.serve_classifiers import parse_classifiers
    from turnwise.core.errors import InvalidParameter
    from turnwise.core.parameters import GenerationParams
    from turnwise.core.settings import Settings
    from turnwise.server.middleware.cors import parse_origin
    from turnwise.server.uvicorn_server import check_address
    from turnwise.store import open_key_store, open_key_usage

    conversations, auxiliary, access = options.conversations, options.auxiliary_models, options.access
    system_prompt = render_prompt(conversations.prompt_template, conversations.prompt_variable or ())
    GenerationParams.resolve(sampling)
    origins = [parse_origin(origin) for origin in access.allowed_origin or ()]
    keys_url = Settings.from_environment().keys_url
    keys, key_usage = open_key_store(keys_url), open_key_usage(keys_url)
    has_keys = bool(keys.list())  # raises if the file is damaged
    adapters = _parse_adapters(options.chat_models.adapter or ())
    listening = options.listening
    requires_key = has_keys or access.require_api_key
    check_address(listening.host, listening.port, allow_remote=listening.allow_remote, requires_key=requires_key)
    for folder in (model, *adapters.values()):
        resolve_model_folder(folder)
    if options.records.retention_days is not None and conversations.store == "none":
        raise InvalidParameter("retention_days", "--retention-days needs a store; leave --store none out.")
    _check_embedding_model(auxiliary)
    scenarios = open_scenario_library(options.service_path.scenarios or (), options.service_path.scenario)
    knowledge = parse_knowledge(options.service_path.knowledge or ())
    classifiers = parse_classifiers(auxiliary.classifier or (), auxiliary.classifier_quantize)
    return CheckedOptions(
        system_prompt, origins, keys, has_keys, key_usage, adapters, scenarios, knowledge, classifiers
    )  # fmt: skip


def _check_embedding_model(auxiliary: "AuxiliaryModelOptions") -> None:
    from turnwise.app.embedding_services import check_embedding_model
    from turnwise.core.errors import InvalidParameter

    if auxiliary.embedding_model is not None:
        check_embedding_model(auxiliary.embedding_model, auxiliary.embedding_quantize)
    elif auxiliary.embedding_quantize is not None:
        raise InvalidParameter("embedding_quantize", "--embedding-quantize needs --embedding-model.")


def _parse_adapters(assignments: Sequence[str]) -> dict[str, str]:
    """Folders by name, from NAME=FOLDER. Raises `InvalidParameter`."""
    from turnwise.core.errors import InvalidParameter

    folders: dict[str, str] = {}
    for assignment in assignments:
        name, _, folder = assignment.partition("=")
        if not (name and folder) or name in folders:
            raise InvalidParameter("adapter", f"--adapter {assignment}: must be NAME=FOLDER, each name once.")
        folders[name] = folder
    return folders
