"""Intents without a title, and titles that two intents share: a question back names intents by their titles."""

from collections import defaultdict
from collections.abc import Iterator

from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.finding import Finding, error, warning


def check(scenario: ScenarioDefinition) -> Iterator[Finding]:
    """Report intents that a question back may offer, and that it can only name by an example message."""
    intents = {name: intent for name, intent in scenario.intents.items() if intent.can_be_offered}
    is_answered_alike = {intent.answer for intent in intents.values()} in ({"generate"}, {"knowledge"})
    if len(intents) < 2 or is_answered_alike or not scenario.settings.limits.max_clarifications:
        return  # no question offers two intents
    names: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for name, intent in intents.items():
        if intent.title is None:
            yield warning(
                "intents.yaml", f"{name}.title", "a question back may offer this intent, and it has no title for it."
            )
        for language, title in (intent.title or {}).items():
            names[language, " ".join(title.casefold().split())].append(name)
    for (language, title), sharing in names.items():
        for name in sharing[1:]:
            yield error("intents.yaml", f"{name}.title.{language}", f"'{title}' is the title of '{sharing[0]}' too.")
