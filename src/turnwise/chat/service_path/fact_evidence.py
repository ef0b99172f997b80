"""Facts of a scenario as evidence that answers can cite."""

from dataclasses import dataclass

from turnwise.chat.service_path.text_evidence import content_words
from turnwise.core.retrieval import Passage
from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.field_types import localize

FACTS_FILE = "facts.yaml"


@dataclass(frozen=True, slots=True)
class FactEvidence:
    """A fact.

    Attributes:
        passage: its value, with the file and the name of the fact as the source.
        words: content words of the value, the name and the terms: what a sentence about the fact may say.
    """

    passage: Passage
    words: frozenset[str]


def fact_evidence(definition: ScenarioDefinition, language: str) -> tuple[FactEvidence, ...]:
    """The facts of a scenario in a language."""
    default = definition.settings.default_language
    evidence = []
    for name, fact in definition.facts.items():
        value = fact.text(language, default)
        terms = localize(fact.terms, language, default) if fact.terms else ()
        topic = " ".join([name.replace("_", " "), *terms])
        evidence.append(FactEvidence(Passage(value, f"{FACTS_FILE}, {name}"), content_words(f"{value}\n{topic}")))
    return tuple(evidence)
