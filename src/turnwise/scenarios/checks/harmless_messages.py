"""Safety lines and refusals that match harmless messages: examples of intents and of safe conversations."""

from collections.abc import Iterator

from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.finding import Finding, error
from turnwise.scenarios.phrases import Phrase


def check(scenario: ScenarioDefinition) -> Iterator[Finding]:
    """Report messages that would be answered by a safety line or a refusal instead of their own answer."""
    for name, intent in scenario.intents.items():
        for language, lines in intent.examples.items():
            for line in lines:
                for file, trigger, phrase in _matches(scenario, line):
                    yield error(
                        file, f"{trigger}.phrases",
                        f"'{phrase.source}' matches '{line}', an example of the intent '{name}' ({language}).",
                    )  # fmt: skip
                match, prediction = scenario.classify_safety(line)
                if match is not None and prediction is not None:
                    yield error(
                        "safety.yaml", "classifier",
                        f"it takes '{line}', an example of the intent '{name}' ({language}), for an emergency "
                        f"({match.name}, probability {prediction.probability:.2f}).",
                    )  # fmt: skip
    for language, dialogues in scenario.examples.items():
        for number, turns in enumerate(dialogues, 1):
            for message in turns[::2]:
                match = scenario.match_safety(message)
                if match is not None and match.line.say.get(language, "")[:40] not in " ".join(turns[1::2]):
                    yield error(
                        "safety.yaml", "classifier" if match.phrase is None else f"{match.name}.phrases",
                        f"it matches '{message[:80]}' of examples.yaml ({language}.{number}), which is answered "
                        "otherwise.",
                    )  # fmt: skip


def _matches(scenario: ScenarioDefinition, message: str) -> Iterator[tuple[str, str, Phrase]]:
    for file, triggers in (("safety.yaml", scenario.safety), ("refusals.yaml", scenario.refusals)):
        for name, trigger in triggers.items():
            if (phrase := trigger.match(message)) is not None:
                yield file, name, phrase
