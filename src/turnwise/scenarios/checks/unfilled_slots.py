"""Slots of templates that have no source, and slots that name a fact that does not exist."""

from collections.abc import Collection, Iterator

from turnwise.core.errors import did_you_mean
from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.finding import Finding, error


def check(scenario: ScenarioDefinition) -> Iterator[Finding]:
    """Report every template and slot whose value is missing."""
    sources = {*scenario.slots, *scenario.facts}
    for intent, language, number, template in scenario.answer_templates():
        for slot in template.slots:
            if slot not in sources:
                yield error(
                    "templates.yaml", f"{intent}.{language}.{number}",
                    f"'{slot}' is neither in slots.yaml nor in facts.yaml{_hint(slot, sources)}",
                )  # fmt: skip
    for name, definition in scenario.slots.items():
        if definition.fact is not None and definition.fact not in scenario.facts:
            yield error(
                "slots.yaml", name, f"facts.yaml has no '{definition.fact}'{_hint(definition.fact, scenario.facts)}"
            )
        if name in scenario.facts:
            yield error("slots.yaml", name, "a fact has this name too; rename one of them.")


def _hint(name: str, candidates: Collection[str]) -> str:
    return f": {did_you_mean(name, candidates)}" if candidates else "."
