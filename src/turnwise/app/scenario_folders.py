"""Finds scenarios by name or folder, and describes them for commands."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from turnwise.core.errors import InvalidData
from turnwise.core.files import path_exists
from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.loader import load_scenario
from turnwise.scenarios.scenario_library import ScenarioLibrary, builtin_folder


def find_scenario(reference: str) -> ScenarioDefinition:
    """Load the scenario of a name, or of a folder.

    Args:
        reference: a path with a slash or of an existing folder, else the name of a built-in scenario or of one in
            `TURNWISE_HOME/scenarios`.

    Raises:
        InvalidParameter: there is no scenario of this name.
        InvalidData: the scenario is invalid.
    """
    if "/" in reference or (reference.startswith((".", "~")) and path_exists(Path(reference).expanduser())):
        return load_scenario(Path(reference).expanduser())
    library = ScenarioLibrary.default()
    if reference not in library.names() and path_exists(Path(reference)):
        return load_scenario(Path(reference))
    return library.get(reference)


def find_scenarios(reference: str) -> list[ScenarioDefinition]:
    """The scenario of a name or folder as a list, or every valid scenario for "all". Raises as `find_scenario`."""
    if reference != "all":
        return [find_scenario(reference)]
    library = ScenarioLibrary.default()
    definitions = []
    for name in library.names():
        with suppress(InvalidData):  # `turnwise scenario list` reports it
            definitions.append(library.get(name))
    return definitions


def list_scenarios() -> list[dict[str, Any]]:
    """All scenarios by name: their title, languages, numbers of entries and folder, or the error of an invalid one."""
    library = ScenarioLibrary.default()
    rows: list[dict[str, Any]] = []
    for name in library.names():
        origin = "built-in" if library.folder(name).parent == builtin_folder() else str(library.folder(name))
        try:
            rows.append({"name": name, "origin": origin, **summarize(library.get(name))})
        except InvalidData as error:
            rows.append({"name": name, "origin": origin, "error": str(error)})
    return rows


def summarize(scenario: ScenarioDefinition) -> dict[str, Any]:
    """Title, languages and numbers of entries."""
    settings = scenario.settings
    return {
        "title": settings.title.get(settings.default_language, next(iter(settings.title.values()))),
        "languages": list(settings.languages),
        "intents": len(scenario.intents),
        "templates": sum(1 for _ in scenario.answer_templates()),
        "facts": len(scenario.facts),
        "safety": len(scenario.safety),
        "refusals": len(scenario.refusals),
        "documents": len(scenario.documents),
        "tests": len(scenario.tests),
    }


def describe_scenario(scenario: ScenarioDefinition, language: str | None) -> dict[str, Any]:
    """Everything that `turnwise scenario show` prints. Raises `InvalidParameter` for an unsupported language."""
    language = scenario.check_language(language)
    return {
        "name": scenario.name,
        "folder": str(scenario.folder),
        "content_hash": scenario.content_hash,
        **summarize(scenario),
        "system_prompt": scenario.system_prompt(language),
        "sampling": dict(scenario.settings.sampling),
        "adapter": scenario.settings.adapter,
        "unmatched": scenario.settings.unmatched,
        "intent_answers": {name: intent.answer for name, intent in scenario.intents.items()},
        "facts_by_name": scenario.fact_values(language),
        "safety_lines": list(scenario.safety),
        "refused_topics": list(scenario.refusals),
    }
