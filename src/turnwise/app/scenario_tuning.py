"""Tunes the thresholds of a scenario on labelled messages, or on its own examples by cross-validation."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from turnwise.chat.service_path.classifier_fitting import fit_classifier
from turnwise.chat.service_path.intent_classifier import TextEncoder
from turnwise.chat.service_path.logistic_head import expected_calibration_error
from turnwise.chat.service_path.threshold_tuning import TunedThreshold, choose_threshold
from turnwise.chat.service_path.tuned_thresholds import Thresholds, write_tuned
from turnwise.core.errors import InvalidData, UserError
from turnwise.core.json_file import parse_json, preview, read_bytes
from turnwise.scenarios.definition import ScenarioDefinition

MAX_FILE_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class LabelledMessage:
    """A message and its intent; "" for none of the scenario's."""

    text: str
    intent: str


@dataclass(frozen=True, slots=True)
class TuningReport:
    """What tuning measured and wrote.

    Attributes:
        path: the file.
        num_messages: messages that the threshold was chosen on.
        is_cross_validated: True if these are the scenario's own examples, held out in turn.
        accuracy: share of messages with an intent whose first intent is right.
        calibration_error: expected calibration error of the probability that the first intent is right.
        tuned: the threshold, and the shares of answered and of wrongly answered messages.
    """

    path: Path
    num_messages: int
    is_cross_validated: bool
    accuracy: float
    calibration_error: float
    tuned: TunedThreshold


def read_labelled_messages(path: Path, definition: ScenarioDefinition) -> list[LabelledMessage]:
    """Read JSON lines with `text` and `intent`; the intent is null for a message of none.

    Raises:
        InvalidData: a line has other content, or an intent that the scenario lacks.
    """
    messages = []
    for number, line in enumerate(read_bytes(path, max_bytes=MAX_FILE_BYTES).splitlines(), 1):
        if not line.strip():
            continue
        entry = parse_json(line, f"{path}, line {number}")
        text, intent = (entry.get("text"), entry.get("intent")) if isinstance(entry, dict) else (None, None)
        if not isinstance(text, str) or not text.strip() or not isinstance(intent, str | None):
            raise InvalidData(f'{path}, line {number}: write {{"text": "...", "intent": "..."}}, got {preview(entry)}.')
        if intent and intent not in definition.intents:
            raise InvalidData(f"{path}, line {number}: the scenario '{definition.name}' has no intent '{intent[:60]}'.")
        messages.append(LabelledMessage(text, intent or ""))
    if not messages:
        raise InvalidData(f"{path} has no messages.")
    return messages


async def tune_scenario(
    definition: ScenarioDefinition, encoder: TextEncoder, messages: list[LabelledMessage], max_wrong: float
) -> TuningReport:
    """Choose the threshold of intents and write `tuned.json` beside the scenario.

    Args:
        definition: the scenario.
        encoder: encodes messages.
        messages: labelled messages; without any, the scenario's examples are held out in turn.
        max_wrong: maximum share of messages that are answered wrongly.

    Raises:
        UserError: the scenario has fewer than two intents.
        SaveFailed: the file cannot be written.
    """
    fitted = await fit_classifier(definition, encoder)
    classifier, scores = fitted.classifier, fitted.scores
    if scores is None:
        raise UserError(f"The scenario '{definition.name}' has fewer than two intents, so there is nothing to tune.")
    if messages:
        predictions = [await classifier.predict(message.text) for message in messages]
        probabilities_N = np.array([prediction.best.probability for prediction in predictions])
        correct_N = np.array([p.best.intent == m.intent for p, m in zip(predictions, messages, strict=True)])
        has_intent_N = np.array([bool(message.intent) for message in messages])
        weights_N = np.ones(len(messages))
        calibration_error = expected_calibration_error(probabilities_N, correct_N)
    else:
        probabilities_N, correct_N, weights_N = scores.certainty_N, scores.correct_N, scores.weights_N
        has_intent_N = np.arange(len(correct_N)) < scores.num_examples
        calibration_error = scores.calibration_error
    tuned = choose_threshold(probabilities_N, correct_N, weights_N, max_wrong)
    path = write_tuned(
        definition, encoder.id, replace(Thresholds(), intent=tuned.threshold), max_wrong=max_wrong,
        calibration_error=calibration_error, num_messages=len(correct_N),
    )  # fmt: skip
    accuracy = float(correct_N[has_intent_N].mean()) if has_intent_N.any() else 0.0
    return TuningReport(path, len(correct_N), not messages, accuracy, calibration_error, tuned)
