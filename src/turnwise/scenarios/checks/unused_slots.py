"""Slots that no template uses."""

from collections.abc import Iterator

from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.finding import Finding, warning


def check(scenario: ScenarioDefinition) -> Iterator[Finding]:
    """Report every slot that nothing uses."""
    used = {slot for *_, template in scenario.answer_templates() for slot in template.slots}
    for name in scenario.slots:
        if name not in used:
            yield warning("slots.yaml", name, "no template uses this slot.")
