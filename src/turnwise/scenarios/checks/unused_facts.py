"""Facts that no text uses."""

from collections.abc import Iterator

from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.finding import Finding, warning
from turnwise.scenarios.phrases import tokenize
from turnwise.scenarios.scenario_texts import iterate_texts


def check(scenario: ScenarioDefinition) -> Iterator[Finding]:
    """Report facts that are in no slot and no template, and whose values stand in no text."""
    templates = [template for *_, template in scenario.answer_templates()]
    templates += scenario.settings.instruction.values()
    templates += [template for refusal in scenario.refusals.values() for template in refusal.say.values()]
    used = {slot for template in templates for slot in template.slots}
    used |= {slot.fact for name, slot in scenario.slots.items() if name in used and slot.fact is not None}
    texts = f" {' '.join(word for text in iterate_texts(scenario) for word in tokenize(text.text))} "
    for name, fact in scenario.facts.items():
        if name not in used and not any(f" {' '.join(tokenize(value))} " in texts for value in fact.value.values()):
            yield warning("facts.yaml", name, "no template, instruction, refusal, example or document uses this fact.")
