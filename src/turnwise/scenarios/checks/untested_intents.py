"""Intents answered by templates, and safety lines, that no test covers."""

from collections.abc import Iterator

from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.finding import Finding, warning


def check(scenario: ScenarioDefinition) -> Iterator[Finding]:
    """Report what no test expects as a decision."""
    tested = {decision for test in scenario.tests for decision in test.decisions}
    for name, intent in scenario.intents.items():
        if intent.answer == "template" and f"template:{name}" not in tested:
            yield warning("intents.yaml", name, "no test expects the template of this intent.")
    for name in scenario.safety:
        if f"safety:{name}" not in tested:
            yield warning("safety.yaml", name, "no test expects this safety line.")
