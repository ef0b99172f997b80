"""Shell completion of scenarios."""


def complete_scenario(incomplete: str) -> list[str]:
    """Names of scenarios."""
    from turnwise.scenarios.scenario_library import ScenarioLibrary

    return [name for name in ScenarioLibrary.default().names() if name.startswith(incomplete)]
