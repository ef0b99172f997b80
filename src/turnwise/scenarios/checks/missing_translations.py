"""Texts that are missing in one of the scenario's languages, and texts in languages that it does not have."""

from collections.abc import Collection, Iterator, Mapping

from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.facts import ANY_LANGUAGE
from turnwise.scenarios.finding import Finding, error, warning


def check(scenario: ScenarioDefinition) -> Iterator[Finding]:
    """Report every text, and every set of tests and documents, that a language lacks."""
    languages = scenario.settings.languages
    for file, key, present in _localized(scenario):
        if ANY_LANGUAGE in present:
            continue
        for language in languages:
            if language not in present:
                yield error(file, key, f"there is no text in '{language}'.")
        for language in present:
            if language not in languages:
                yield error(file, key, f"'{language}' is not in 'languages' of scenario.yaml.")
    tested = {test.language for test in scenario.tests}
    documented = {document.language for document in scenario.documents}
    for language in languages:
        if tested and language not in tested:
            yield warning("tests", "", f"there is no test in '{language}'.")
        if scenario.documents and None not in documented and language not in documented:
            yield error("scenario.yaml", "knowledge", f"no folder of documents is called '{language}'.")
    for test in scenario.tests:
        if test.language not in languages:
            yield error(scenario.test_files[test.id], test.id, f"the scenario has no language '{test.language}'.")


def _localized(scenario: ScenarioDefinition) -> Iterator[tuple[str, str, Collection[str]]]:
    """File, key and languages of every text."""
    settings = scenario.settings
    fields: dict[str, Mapping[str, object] | None] = {
        "title": settings.title,
        "description": settings.description,
        "instruction": settings.instruction,
        "tone": settings.tone,
        **{f"messages.{name}": getattr(settings.messages, name) for name in type(settings.messages).model_fields},
    }
    yield from (("scenario.yaml", key, texts) for key, texts in fields.items() if texts is not None)
    for name, intent in scenario.intents.items():
        yield "intents.yaml", f"{name}.examples", intent.examples
        if intent.title is not None:
            yield "intents.yaml", f"{name}.title", intent.title
        if intent.question is not None:
            yield "intents.yaml", f"{name}.question", intent.question
    yield from (("templates.yaml", name, by_language) for name, by_language in scenario.templates.items())
    for name, slot in scenario.slots.items():
        if slot.ask is not None:
            yield "slots.yaml", f"{name}.ask", slot.ask
        for choice, synonyms in (slot.choices or {}).items():
            yield "slots.yaml", f"{name}.choices.{choice}", synonyms
    yield from (("facts.yaml", name, fact.value) for name, fact in scenario.facts.items())
    yield from (("facts.yaml", f"{name}.terms", fact.terms) for name, fact in scenario.facts.items() if fact.terms)
    if scenario.examples:
        yield "examples.yaml", "", scenario.examples
    for file, triggers in (("safety.yaml", scenario.safety), ("refusals.yaml", scenario.refusals)):
        for name, trigger in triggers.items():
            if trigger.phrases:  # a line that only a classifier chooses has none
                yield file, f"{name}.phrases", trigger.phrases
            yield file, f"{name}.say", trigger.say
            if trigger.examples:
                yield file, f"{name}.examples", trigger.examples
