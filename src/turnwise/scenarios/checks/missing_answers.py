"""Intents without what their answer needs: templates, a question, a text or documents."""

from collections.abc import Iterator

from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.finding import Finding, error


def check(scenario: ScenarioDefinition) -> Iterator[Finding]:
    """Report intents, and the answer to unmatched messages, that cannot be given."""
    settings = scenario.settings
    needs = [("intents.yaml", name, intent.answer, intent.question) for name, intent in scenario.intents.items()]
    needs.append(("scenario.yaml", "unmatched", settings.unmatched, None))
    for file, key, answer, question in needs:
        if answer == "template" and key not in scenario.templates:
            yield error(file, key, "the answer is a template, and templates.yaml has none for it.")
        elif answer == "clarify" and question is None and settings.messages.clarify is None:
            yield error(file, key, "the answer is a question, and neither 'question' nor 'messages.clarify' has one.")
        elif answer == "hand_off" and settings.messages.hand_off is None:
            yield error(file, key, "a person takes over, and 'messages.hand_off' in scenario.yaml is missing.")
        elif answer == "knowledge" and not scenario.documents:
            yield error(file, key, "the answer comes from documents, and 'knowledge' in scenario.yaml names none.")
        elif answer == "knowledge" and settings.messages.no_answer is None:
            yield error(file, key, "documents may lack an answer, and scenario.yaml has no 'messages.no_answer'.")
