"""What a question back calls an intent."""

from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.field_types import localize


def intent_label(definition: ScenarioDefinition, intent: str, language: str) -> str:
    """The title of an intent; without one, its first example message in quotation marks, else its name."""
    default, entry = definition.settings.default_language, definition.intents[intent]
    if entry.title is not None:
        return localize(entry.title, language, default)
    examples = localize(entry.examples, language, default) if entry.examples else ()
    return f"“{examples[0]}”" if examples else intent.replace("_", " ")


def intent_labels(definition: ScenarioDefinition) -> dict[str, str]:
    """Intents by their labels in all languages."""
    return {
        intent_label(definition, intent, language): intent
        for language in definition.settings.languages
        for intent in definition.intents
    }
