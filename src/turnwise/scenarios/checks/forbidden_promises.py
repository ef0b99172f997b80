"""Texts that promise what a refusal forbids."""

from collections.abc import Iterator

from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.finding import Finding, error
from turnwise.scenarios.phrases import PhraseList
from turnwise.scenarios.scenario_texts import iterate_texts


def check(scenario: ScenarioDefinition) -> Iterator[Finding]:
    """Report templates, examples, messages, documents and test answers with a phrase of `forbids`."""
    forbidden = {
        topic: PhraseList([line for lines in refusal.forbids.values() for line in lines])
        for topic, refusal in scenario.refusals.items()
        if refusal.forbids
    }
    for text in iterate_texts(scenario):
        if text.source in ("refusal", "safety", "instruction"):
            continue
        for topic, phrases in forbidden.items():
            if (phrase := phrases.find(text.text)) is not None:
                yield error(
                    text.file, text.key, f"the text has '{phrase.source}', which the refusal '{topic}' forbids."
                )
