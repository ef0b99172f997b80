"""Examples that answer a topic which refusals.yaml declines."""

from collections.abc import Iterator

from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.finding import Finding, error
from turnwise.scenarios.phrases import tokenize


def check(scenario: ScenarioDefinition) -> Iterator[Finding]:
    """Report example dialogues whose user asks for a declined topic and gets another text than the refusal."""
    for language, dialogues in scenario.examples.items():
        for number, turns in enumerate(dialogues, 1):
            for message, answer in zip(turns[::2], turns[1::2], strict=True):
                if scenario.match_safety(message) or (match := scenario.match_refusal(message)) is None:
                    continue
                sentence = scenario.refusal_text(match[0], language)
                if " ".join(tokenize(sentence)) not in " ".join(tokenize(answer)):
                    yield error(
                        "examples.yaml", f"{language}.{number}",
                        f"'{message[:80]}' is about '{match[0]}', which refusals.yaml declines, and the example "
                        "answers it.",
                    )  # fmt: skip
