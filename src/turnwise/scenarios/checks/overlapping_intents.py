"""Example messages of different intents that are equal or nearly so: no classifier can tell them apart."""

from collections.abc import Iterator
from itertools import pairwise

from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.finding import Finding, error, warning
from turnwise.scenarios.phrases import tokenize

MAX_SIMILARITY = 0.8  # Jaccard similarity of words and pairs of neighbours


def check(scenario: ScenarioDefinition) -> Iterator[Finding]:
    """Report equal examples as errors and near-duplicates as warnings."""
    for language in scenario.settings.languages:
        messages = [
            (name, line, _features(line))
            for name, intent in scenario.intents.items()
            for line in intent.examples.get(language, ())
        ]
        for index, (name, line, features) in enumerate(messages):
            for other_name, other_line, other_features in messages[:index]:
                if other_name == name or not features or not other_features:
                    continue
                if features == other_features:
                    yield error(
                        "intents.yaml", f"{name}.examples.{language}",
                        f"'{line}' is an example of '{other_name}' too.",
                    )  # fmt: skip
                elif len(features & other_features) > MAX_SIMILARITY * len(features | other_features):
                    yield warning(
                        "intents.yaml", f"{name}.examples.{language}",
                        f"'{line}' is almost '{other_line}' of '{other_name}'.",
                    )  # fmt: skip


def _features(line: str) -> frozenset[str]:
    words = tokenize(line)
    return frozenset(words) | {f"{first} {second}" for first, second in pairwise(words)}
