"""Templates that no intent leads to."""

from collections.abc import Iterator

from turnwise.core.errors import did_you_mean
from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.finding import Finding, error


def check(scenario: ScenarioDefinition) -> Iterator[Finding]:
    """Report templates of unknown intents, and of intents that are answered otherwise."""
    for name in scenario.templates:
        if name not in scenario.intents:
            hint = f": {did_you_mean(name, scenario.intents)}" if scenario.intents else "."
            yield error("templates.yaml", name, f"no intent is called '{name}', so its templates are never used{hint}")
        elif (answer := scenario.intents[name].answer) != "template":
            yield error(
                "templates.yaml", name, f"the intent is answered by '{answer}', so its templates are never used."
            )
