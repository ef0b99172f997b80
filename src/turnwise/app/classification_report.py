"""Evaluates a trained classifier on the held-out data of its run, as it is served, and writes reports."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from turnwise.app.text_classifier import TextClassifier
from turnwise.core.files import atomic_write
from turnwise.core.tag_schemes import split_tag
from turnwise.data.annotations.annotated import Annotated, LabeledText, TaggedSentence
from turnwise.evaluation.classification.label_report import (
    LabelReport,
    report_entities,
    report_labels,
    report_tokens,
)

REPORT_FILE, REPORT_JSON_FILE = "classification.md", "classification.json"
NOT_PREDICTED = ""  # a label of a multi-label text that was not predicted, or "none of these"


@dataclass(frozen=True)
class SplitReport:
    """The reports of one split.

    Attributes:
        split: "valid" or "test".
        labels: report on texts or words.
        entities: report on entities; None for texts and for plain tags.
    """

    split: str
    labels: LabelReport
    entities: LabelReport | None = None


def report_split(classifier: TextClassifier, split: str, items: Sequence[Annotated]) -> SplitReport:
    """Predict the labels of a split's texts and compare them with the true ones."""
    if classifier.config.task == "token_classification":
        sentences = [item for item in items if isinstance(item, TaggedSentence)]
        targets = [sentence.tags for sentence in sentences]
        predictions = [tags for tags, _ in classifier.tag_words(sentences)]
        has_entities = any(split_tag(label)[0] for label in classifier.config.labels)
        entities = report_entities(targets, predictions) if has_entities else None
        return SplitReport(split, report_tokens(targets, predictions), entities)
    texts = [item for item in items if isinstance(item, LabeledText) and is_usable(classifier, item)]
    predicted = [result.labels for result in classifier.classify([text.text for text in texts])]
    pairs = [
        pair
        for text, labels in zip(texts, predicted, strict=True)
        for pair in _label_pairs(classifier, text.labels, labels)
    ]
    return SplitReport(
        split, report_labels([target for target, _ in pairs], [label for _, label in pairs], classifier.config.labels)
    )


def is_usable(classifier: TextClassifier, text: LabeledText) -> bool:
    """True if training could use the text: its labels are known, and it has one if the classifier predicts one."""
    has_one = classifier.config.is_multi_label or len(text.labels) == 1
    return has_one and set(text.labels) <= set(classifier.config.labels)


def write_reports(folder: Path, reports: Sequence[SplitReport]) -> None:
    """Write `classification.md` and `classification.json`. Raises `SaveFailed` if the disk is full or not writable."""
    lines = ["# Classification report", ""]
    for report in reports:
        unit = "Texts" if report.entities is None else "Words"
        lines += [f"## {unit}, {report.split} data", "", report.labels.as_markdown(), ""]
        if report.entities is not None:
            lines += [f"## Entities, {report.split} data", "", report.entities.as_markdown(), ""]
    atomic_write(folder / REPORT_FILE, "\n".join(lines))
    content = json.dumps([asdict(report) for report in reports], indent=2, ensure_ascii=False)
    atomic_write(folder / REPORT_JSON_FILE, content + "\n")


def _label_pairs(classifier: TextClassifier, targets: Sequence[str], labels: Sequence[str]) -> list[tuple[str, str]]:
    """True and predicted label of a text; for a multi-label classifier a pair for every label that is either."""
    if not classifier.config.is_multi_label:
        return [(targets[0], labels[0] if labels else NOT_PREDICTED)]
    return [
        (label if label in targets else NOT_PREDICTED, label if label in labels else NOT_PREDICTED)
        for label in classifier.config.labels
        if label in targets or label in labels
    ]
