"""Prices, times, durations, percentages and contacts that differ from facts.yaml.

A unit is compared only if a fact has it. In templates, examples, refusals, messages and answers of tests, a quantity
must be that of a fact. In all texts and documents, a clause with a term of a fact (`terms`) must state its value.
"""

from collections.abc import Iterator

from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.finding import Finding, error
from turnwise.scenarios.phrases import PhraseList
from turnwise.scenarios.quantities import Quantity, find_quantities, split_clauses
from turnwise.scenarios.scenario_texts import ScenarioText, iterate_texts


def check(scenario: ScenarioDefinition) -> Iterator[Finding]:
    """Report every quantity that contradicts a fact."""
    values = {
        name: {(q.unit, q.value) for text in fact.value.values() for q in find_quantities(text)}
        for name, fact in scenario.facts.items()
    }
    terms = {
        name: PhraseList([line for lines in fact.terms.values() for line in lines])
        for name, fact in scenario.facts.items()
        if fact.terms and values[name]
    }
    for text in iterate_texts(scenario):
        for clause in split_clauses(text.text):
            quantities = find_quantities(clause)
            if not quantities:
                continue
            subjects = [name for name, phrases in terms.items() if phrases.find(clause)]
            yield from _compare(scenario, text, quantities, subjects, values)


def _compare(
    scenario: ScenarioDefinition,
    text: ScenarioText,
    quantities: list[Quantity],
    subjects: list[str],
    values: dict[str, set[tuple[str, str]]],
) -> Iterator[Finding]:
    for quantity in quantities:
        pair = (quantity.unit, quantity.value)
        about = [name for name in subjects if any(unit == quantity.unit for unit, _ in values[name])]
        same_unit = [name for name in values if any(unit == quantity.unit for unit, _ in values[name])]
        if about and not any(pair in values[name] for name in about):
            names = about
        elif not about and text.source != "document" and same_unit and not any(pair in values[n] for n in same_unit):
            names = same_unit
        else:
            continue
        language = text.language or scenario.settings.default_language
        facts = ", ".join(
            f"'{name}' is {scenario.facts[name].text(language, scenario.settings.default_language)}"
            for name in names[:3]
        )
        yield error(text.file, text.key, f"'{quantity.text}' is the value of no such fact: {facts}.")
