"""How a message is matched with the safety lines of a scenario: by phrases, else by a classifier.

::

    # safety.yaml
    classifier:
      name: emergencies               # a classifier that comes with the package
      unsure: possible_emergency      # the line for emergencies of no certain kind
      lines: {eye_injury: burn}       # optional; line by kind. Default: the line with the kind's name, else `unsure`
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from pydantic import AfterValidator, Field

from turnwise.core.strict_model import StrictModel
from turnwise.scenarios.field_types import Name, empty_map
from turnwise.scenarios.message_classifier import (
    EmergencyPrediction,
    MessageClassifier,
    check_classifier_name,
    load_classifier,
    message_windows,
)
from turnwise.scenarios.phrases import MessageWords
from turnwise.scenarios.spoken_lines import SafetyLine

MIN_WORDS_LEFT = 3  # beside those of exceptions; fewer tell nothing
CLASSIFIER_KEY = "classifier"  # in safety.yaml; no line has this name


class SafetyClassifierSettings(StrictModel):
    """The entry `classifier` of `safety.yaml` (see the module docstring)."""

    name: Annotated[str, AfterValidator(check_classifier_name)]
    unsure: Name
    lines: Mapping[Name, Name] = Field(default_factory=empty_map)

    @cached_property
    def model(self) -> MessageClassifier:
        """The classifier."""
        return load_classifier(self.name)

    def line_of(self, prediction: EmergencyPrediction, lines: Mapping[str, SafetyLine]) -> str:
        """Name of the line for a prediction."""
        if prediction.kind is None:
            return self.unsure
        name = self.lines.get(prediction.kind, prediction.kind)
        return name if name in lines else self.unsure


@dataclass(frozen=True, slots=True)
class SafetyMatch:
    """A message that gets a safety line.

    Attributes:
        name: name of the line.
        line: the line.
        phrase: the phrase that recognised the message; None if the classifier did.
    """

    name: str
    line: SafetyLine
    phrase: str | None = None


def match_phrases(lines: Mapping[str, SafetyLine], message: str) -> SafetyMatch | None:
    """The first line with a phrase that the message has, or None."""
    words = MessageWords(message)
    for name, line in lines.items():
        if (phrase := line.match(words)) is not None:
            return SafetyMatch(name, line, phrase.source)
    return None


def classifier_windows(lines: Mapping[str, SafetyLine], message: str) -> list[str]:
    """Windows of a message for the classifier, without the words that match exceptions of the lines."""
    words = MessageWords(message)
    excepted = set().union(*(line.excepted_words(words) for line in lines.values()))
    if not excepted:
        return message_windows(message)
    rest = [word for index, word in enumerate(words.tokens) if index not in excepted]
    return message_windows(" ".join(rest)) if len(rest) >= MIN_WORDS_LEFT else []
