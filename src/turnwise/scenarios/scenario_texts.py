"""All texts of a scenario that an assistant says, with the place of each, for checks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from turnwise.scenarios.definition import ScenarioDefinition

Source = str
"""Kind of a text: "instruction", "message", "question", "template", "example", "refusal", "safety", "test" or
"document"."""


@dataclass(frozen=True, slots=True)
class ScenarioText:
    """A text of an assistant.

    Attributes:
        source: kind of the text, see `Source`.
        file: file in the scenario's folder.
        key: path of the entry in the file.
        language: language; None if it is not known.
        text: the text; slots of templates are replaced by the values of facts, or by "…".
    """

    source: Source
    file: str
    key: str
    language: str | None
    text: str


def iterate_texts(scenario: ScenarioDefinition) -> Iterator[ScenarioText]:
    """Yield all texts, file by file."""
    facts = {language: scenario.fact_values(language) for language in scenario.settings.languages}

    def fill(parts: tuple[str, ...], language: str) -> str:
        values = facts.get(language, {})
        return "".join(values.get(text, "…") if index % 2 else text for index, text in enumerate(parts))

    settings = scenario.settings
    for language, template in settings.instruction.items():
        text = fill(template.parts, language)
        yield ScenarioText("instruction", "scenario.yaml", f"instruction.{language}", language, text)
    for name in type(settings.messages).model_fields:
        yield from _localized("message", "scenario.yaml", f"messages.{name}", getattr(settings.messages, name))
    for name, intent in scenario.intents.items():
        yield from _localized("question", "intents.yaml", f"{name}.title", intent.title)
        yield from _localized("question", "intents.yaml", f"{name}.question", intent.question)
    for name, language, number, template in scenario.answer_templates():
        text = fill(template.parts, language)
        yield ScenarioText("template", "templates.yaml", f"{name}.{language}.{number}", language, text)
    for name, slot in scenario.slots.items():
        yield from _localized("question", "slots.yaml", f"{name}.ask", slot.ask)
    for language, dialogues in scenario.examples.items():
        for number, turns in enumerate(dialogues, 1):
            for text in turns[1::2]:
                yield ScenarioText("example", "examples.yaml", f"{language}.{number}", language, text)
    for name, line in scenario.safety.items():
        yield from _localized("safety", "safety.yaml", f"{name}.say", line.say)
    for name, refusal in scenario.refusals.items():
        for language, template in refusal.say.items():
            text = fill(template.parts, language)
            yield ScenarioText("refusal", "refusals.yaml", f"{name}.say.{language}", language, text)
    for test in scenario.tests:
        for text in (*test.messages[1::2], *([test.passing_answer] if test.passing_answer else [])):
            yield ScenarioText("test", scenario.test_files[test.id], test.id, test.language, text)
    for document in scenario.documents:
        if document.text is not None:
            yield ScenarioText("document", document.path, "", document.language, document.text)


def _localized(source: Source, file: str, key: str, texts: Mapping[str, str] | None) -> Iterator[ScenarioText]:
    for language, text in (texts or {}).items():
        yield ScenarioText(source, file, f"{key}.{language}", language, text)
