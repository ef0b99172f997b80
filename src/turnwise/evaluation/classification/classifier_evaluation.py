"""Evaluates the predictions of a classifier: scores, confusions, calibration, worst errors, comparison with a base."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from turnwise.core.classification import TextLabels
from turnwise.core.tag_schemes import split_tag
from turnwise.data.annotations.annotated import LabeledText, TaggedSentence
from turnwise.evaluation.classification.calibration import Calibration, measure_calibration
from turnwise.evaluation.classification.classifier_metrics import tag_metrics, text_metrics
from turnwise.evaluation.classification.confusion import ConfusionCounts, count_confusions, count_tag_confusions
from turnwise.evaluation.classification.label_report import (
    LabelReport,
    report_entities,
    report_labels,
    report_tokens,
)
from turnwise.evaluation.classification.refusal_metrics import refusal_metrics
from turnwise.evaluation.classification.worst_errors import (
    SentenceError,
    TextError,
    join_labels,
    worst_sentences,
    worst_texts,
)
from turnwise.evaluation.scorecard import Scorecard, build_scorecard

WordTags = tuple[Sequence[str], Sequence[float]]
"""The tag of every word of a sentence, and its probability."""


@dataclass(frozen=True)
class ClassifierEvaluation:
    """The result of an evaluation.

    Attributes:
        unit: "text" or "sentence", as a noun for messages.
        num_items: number of texts or sentences.
        num_errors: number of them with an error.
        scorecard: metrics with intervals, compared with the base if there is one.
        labels: scores per label of texts, or per tag of words.
        entities: scores per label of entities; None for texts and for plain tags.
        confusions: counts of true and predicted labels; None if a text may have several labels.
        calibration: of texts with a known label, or of words; None if a text may have several labels.
        base_calibration: that of the base; None without a base, or if it gives no probabilities.
        errors: the worst errors.
    """

    unit: str
    num_items: int
    num_errors: int
    scorecard: Scorecard
    labels: LabelReport
    entities: LabelReport | None
    confusions: ConfusionCounts | None
    calibration: Calibration | None
    base_calibration: Calibration | None
    errors: Sequence[TextError] | Sequence[SentenceError]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: those of the scorecard, and the tables."""
        return self.scorecard.as_dict() | {
            "labels": asdict(self.labels),
            "entities": None if self.entities is None else asdict(self.entities),
            "confusions": [] if self.confusions is None else [asdict(entry) for entry in self.confusions.largest()],
            "calibration": None if self.calibration is None else asdict(self.calibration),
            "base_calibration": None if self.base_calibration is None else asdict(self.base_calibration),
            "num_errors": self.num_errors,
            "errors": [asdict(error) for error in self.errors],
        }


def evaluate_texts(
    texts: Sequence[LabeledText],
    model: Sequence[TextLabels],
    base: Sequence[TextLabels] | None,
    labels: Sequence[str],
    *,
    is_multi_label: bool = False,
    metadata: Mapping[str, Any] | None = None,
) -> ClassifierEvaluation:
    """Evaluate a classifier of texts.

    Args:
        texts: at least one text with its true labels; without a label it belongs to none of them.
        model: the classifier's predictions.
        base: the base's predictions for the same texts.
        labels: the classifier's labels, in order.
        is_multi_label: a text may have several labels.
        metadata: what is needed to repeat the evaluation.
    """
    systems = [model] if base is None else [model, base]
    every_label = {label for text in texts for label in text.labels}
    every_label.update(label for system in systems for prediction in system for label in prediction.labels)
    names = sorted({*labels, *every_label})
    results = [text_metrics(texts, system, names, is_multi_label=is_multi_label) for system in systems]
    has_none = any(not text.labels for text in texts) or any(
        not prediction.labels for system in systems for prediction in system
    )
    if has_none and not is_multi_label:
        results = [metrics | refusal_metrics(texts, system) for metrics, system in zip(results, systems, strict=True)]
    pairs = [
        pair
        for text, prediction in zip(texts, model, strict=True)
        for pair in _label_pairs(text.labels, prediction.labels, is_multi_label=is_multi_label)
    ]
    targets, predictions = [target for target, _ in pairs], [prediction for _, prediction in pairs]
    occurring = {*targets, *predictions}
    calibrations = [None if is_multi_label else _text_calibration(texts, system) for system in systems]
    return ClassifierEvaluation(
        unit="text",
        num_items=len(texts),
        num_errors=sum(set(a.labels) != set(b.labels) for a, b in zip(texts, model, strict=True)),
        scorecard=build_scorecard(results[0], None if base is None else results[1], metadata),
        labels=report_labels(targets, predictions, [label for label in labels if label in occurring]),
        entities=None,
        confusions=None if is_multi_label else count_confusions(targets, predictions, labels),
        calibration=calibrations[0],
        base_calibration=None if base is None else calibrations[1],
        errors=worst_texts(texts, model),
    )


def evaluate_tags(
    sentences: Sequence[TaggedSentence],
    model: Sequence[WordTags],
    base: Sequence[WordTags] | None,
    *,
    metadata: Mapping[str, Any] | None = None,
) -> ClassifierEvaluation:
    """Evaluate a tagger; arguments as for `evaluate_texts`. If a tag has a prefix, tags have the scheme IOB2."""
    systems = [model] if base is None else [model, base]
    targets = [sentence.tags for sentence in sentences]
    predictions = [tags for tags, _ in model]
    sequences = [*targets, *(tags for system in systems for tags, _ in system)]
    labels = sorted({label for prefix, label in map(split_tag, {tag for tags in sequences for tag in tags}) if prefix})
    results = [tag_metrics(targets, [tags for tags, _ in system], labels) for system in systems]
    return ClassifierEvaluation(
        unit="sentence",
        num_items=len(sentences),
        num_errors=sum(list(a) != list(b) for a, b in zip(targets, predictions, strict=True)),
        scorecard=build_scorecard(results[0], None if base is None else results[1], metadata),
        labels=report_tokens(targets, predictions),
        entities=report_entities(targets, predictions) if labels else None,
        confusions=count_tag_confusions(targets, predictions),
        calibration=_tag_calibration(targets, model),
        base_calibration=None if base is None else _tag_calibration(targets, base),
        errors=worst_sentences(sentences, model),
    )


def _label_pairs(targets: Sequence[str], predictions: Sequence[str], *, is_multi_label: bool) -> list[tuple[str, str]]:
    """True and predicted label of a text; with several labels a pair for every label that is either."""
    if not is_multi_label:
        return [(join_labels(targets), join_labels(predictions))]
    return [
        (join_labels([label] * (label in targets)), join_labels([label] * (label in predictions)))
        for label in sorted({*targets, *predictions})
    ]


def _text_calibration(texts: Sequence[LabeledText], predictions: Sequence[TextLabels]) -> Calibration | None:
    """Calibration of the most probable label, also where it is below the threshold; texts of no label do not count."""
    pairs = [
        (prediction.scores[0].probability, prediction.scores[0].label == text.labels[0])
        for text, prediction in zip(texts, predictions, strict=True)
        if text.labels
    ]
    return _calibration(pairs)


def _tag_calibration(targets: Sequence[Sequence[str]], predictions: Sequence[WordTags]) -> Calibration | None:
    """Calibration of the tags of words; words without a token have no prediction, and the probability 0."""
    return _calibration(
        [
            (probability, target == tag)
            for sentence, (tags, probabilities) in zip(targets, predictions, strict=True)
            for target, tag, probability in zip(sentence, tags, probabilities, strict=True)
            if probability > 0
        ]
    )


def _calibration(pairs: Sequence[tuple[float, bool]]) -> Calibration | None:
    """Calibration of confidences and whether they are right; None without any."""
    if not pairs:
        return None
    confidence_N, is_right_N = np.array(pairs, dtype=np.float64).T
    return measure_calibration(confidence_N, is_right_N > 0)
