"""Reports on a trained classifier: its predictions on the held-out data of the run, label by label.

Tokens are the words of the data. Words that the tokenizer drops have no prediction and are not counted; a sentence that
was cut counts as several.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path

import torch
from torch import Tensor

from turnwise.core.files import atomic_write
from turnwise.core.tag_schemes import split_tag
from turnwise.evaluation.classification.label_report import (
    LabelReport,
    report_entities,
    report_labels,
    report_tokens,
)
from turnwise.models.classifier import Classifier
from turnwise.models.trainable_encoder import PaddedLayout
from turnwise.training.examples.batches import Batch
from turnwise.training.examples.dataset import Dataset
from turnwise.training.examples.example import IGNORED
from turnwise.training.log_probs import autocast
from turnwise.training.objectives.sequence_classification import LABELS
from turnwise.training.objectives.token_classification import TAGS

REPORT_FILE, REPORT_JSON_FILE = "classification.md", "classification.json"


@dataclass(frozen=True)
class HeldOutReports:
    """The reports of one split.

    Attributes:
        split: "valid" or "test".
        labels: report on tokens or texts.
        entities: report on entities; None for texts and for plain tags.
    """

    split: str
    labels: LabelReport
    entities: LabelReport | None = None


def report_split(
    model: Classifier, split: str, dataset: Dataset, *, size: int, device: torch.device, dtype: torch.dtype
) -> HeldOutReports:
    """Predict the labels of a split and compare them with the true ones.

    Args:
        model: the trained classifier.
        split: name of the split.
        dataset: its examples.
        size: rows per batch.
        device: device of the model.
        dtype: compute type.
    """
    model.module.eval()
    pairs: list[tuple[list[str], list[str]]] = []
    with torch.inference_mode(), autocast(device, dtype):
        for batch in dataset.batches(size):
            predict = _tag_pairs if model.config.task == "token_classification" else _label_pairs
            pairs += predict(model, batch.to(device))
    targets, predictions = [target for target, _ in pairs], [prediction for _, prediction in pairs]
    if model.config.task == "sequence_classification":
        return HeldOutReports(split, report_labels([*chain(*targets)], [*chain(*predictions)]))
    has_entities = any(split_tag(label)[0] for label in model.config.labels)
    return HeldOutReports(
        split, report_tokens(targets, predictions), report_entities(targets, predictions) if has_entities else None
    )


def write_reports(folder: Path, reports: list[HeldOutReports]) -> None:
    """Write `classification.md` and `classification.json`. Raises `SaveFailed` if the disk is full or not writable."""
    lines = ["# Classification report", ""]
    for report in reports:
        unit = "Texts" if report.entities is None else "Tokens"
        lines += [f"## {unit}, {report.split} data", "", report.labels.as_markdown(), ""]
        if report.entities is not None:
            lines += [f"## Entities, {report.split} data", "", report.entities.as_markdown(), ""]
    atomic_write(folder / REPORT_FILE, "\n".join(lines))
    content = json.dumps([asdict(report) for report in reports], indent=2, ensure_ascii=False)
    atomic_write(folder / REPORT_JSON_FILE, content + "\n")


def _tag_pairs(model: Classifier, batch: Batch) -> Iterator[tuple[list[str], list[str]]]:
    """True and predicted tags of every sentence of a batch."""
    tags_BT = batch.token_labels[TAGS]
    is_labelled_BT = tags_BT != IGNORED
    logits_NK = model.token_logits(batch.ids_BT, is_labelled_BT, batch.segment_ids_BT, batch.positions_BT).float()
    lengths = torch.bincount(batch.segment_ids_BT[is_labelled_BT].long())[1:]
    lengths = lengths[lengths > 0]
    predictions = _decode(model, logits_NK, lengths)
    targets = iter(tags_BT[is_labelled_BT].tolist())
    for prediction in predictions:
        yield _names(model, [*islice(targets, len(prediction))]), _names(model, prediction)


def _decode(model: Classifier, logits_NK: Tensor, lengths: Tensor) -> list[list[int]]:
    """The tags of every sentence: the best sequence with a CRF, else the best tag of each word."""
    if model.head.crf is None:
        best = iter(logits_NK.argmax(dim=1).tolist())
        return [[*islice(best, length)] for length in lengths.tolist()]
    layout = PaddedLayout(lengths.tolist(), logits_NK.device)
    return model.head.crf.decode(layout.pad(logits_NK), layout.mask_B11T[:, 0, 0])


def _label_pairs(model: Classifier, batch: Batch) -> Iterator[tuple[list[str], list[str]]]:
    """True and predicted labels of every text of a batch; for multi-label data a pair per text and label."""
    logits_PK = model.text_logits(batch.ids_BT, batch.segment_ids_BT, batch.positions_BT).float()
    targets = batch.segment_labels[LABELS]
    if not model.config.is_multi_label:
        yield _names(model, targets.tolist()), _names(model, logits_PK.argmax(dim=1).tolist())
        return
    for target_K, prediction_K in zip((targets > 0).tolist(), (logits_PK > 0).tolist(), strict=True):
        pairs = zip(model.config.labels, target_K, prediction_K, strict=True)
        named = [(name if is_true else "", name if is_predicted else "") for name, is_true, is_predicted in pairs]
        yield [name for name, _ in named], [name for _, name in named]


def _names(model: Classifier, indices: list[int]) -> list[str]:
    return [model.config.labels[index] for index in indices]
