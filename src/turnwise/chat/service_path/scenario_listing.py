"""The scenarios of a library as requests see them."""

from turnwise.core.chat_service import ScenarioInfo
from turnwise.core.errors import InvalidData
from turnwise.scenarios.scenario_library import ScenarioLibrary


def list_scenarios(library: ScenarioLibrary) -> tuple[ScenarioInfo, ...]:
    """All scenarios, valid or not, by name."""
    return tuple(_scenario_info(library, name) for name in library.names())


def _scenario_info(library: ScenarioLibrary, name: str) -> ScenarioInfo:
    try:
        settings = library.get(name).settings
    except InvalidData as error:
        return ScenarioInfo(name, error=str(error))
    return ScenarioInfo(
        name, dict(settings.title), dict(settings.description), tuple(settings.languages), library.error(name)
    )
