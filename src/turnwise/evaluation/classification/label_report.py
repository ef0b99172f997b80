"""Precision, recall and F1 per label, with micro, macro and weighted averages.

Labels of texts and of tokens are counted one by one (scikit-learn). Entities count as right if start, end and label are
right (seqeval, which follows the evaluation script of CoNLL-2000).

In a token report every tag is a label, "O" too; its micro average is the share of right tokens. Entity scores are far
lower than token scores, since most tokens are "O".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from turnwise.core.errors import UserError
from turnwise.core.tag_schemes import split_tag

AVERAGES = ("micro avg", "macro avg", "weighted avg")


@dataclass(frozen=True, slots=True)
class LabelScores:
    """Scores of one label or average, from 0 to 1.

    Attributes:
        label: the label, or a name of `AVERAGES`.
        precision: share of the predictions of this label that are right; 0 without any.
        recall: share of the true cases of this label that are found; 0 without any.
        f1: harmonic mean of precision and recall.
        support: number of true cases.
    """

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class LabelReport:
    """A classification report.

    Attributes:
        labels: scores of every label, by name.
        micro: over all cases together; the accuracy, if every case has one label and all labels count.
        macro: mean over the labels.
        weighted: mean over the labels, weighted by their support.
    """

    labels: tuple[LabelScores, ...]
    micro: LabelScores
    macro: LabelScores
    weighted: LabelScores

    def as_table(self, digits: int = 3) -> str:
        """The report as a table in plain text."""
        rows = [*self.labels, self.micro, self.macro, self.weighted]
        width = max(len(row.label) for row in rows)
        header = f"{'':>{width}}  precision    recall  f1-score   support"
        lines = [
            f"{row.label:>{width}}  {row.precision:9.{digits}f} {row.recall:9.{digits}f} {row.f1:9.{digits}f} "
            f"{row.support:9,d}"
            for row in rows
        ]
        averages = len(self.labels)
        return "\n".join([header, "", *lines[:averages], "", *lines[averages:]])


def check_libraries() -> None:
    """Raise `UserError` if the libraries of the extra `classification` are missing."""
    if find_spec("sklearn") is None or find_spec("seqeval") is None:
        raise UserError("Reports on classifiers need scikit-learn and seqeval: pip install 'turnwise[classification]'.")


def report_labels(
    targets: Sequence[str], predictions: Sequence[str], labels: Sequence[str] | None = None
) -> LabelReport:
    """Report on cases with one label each.

    Args:
        targets: true label of every case.
        predictions: predicted label of every case.
        labels: the labels to report on, in order. Default: all that occur, by name.
    """
    check_libraries()
    from sklearn.metrics import precision_recall_fscore_support

    names = sorted({*targets, *predictions}) if labels is None else list(labels)
    if not targets:
        nothing = [LabelScores(name, 0.0, 0.0, 0.0, 0) for name in (*names, *AVERAGES)]
        return LabelReport(tuple(nothing[: len(names)]), *nothing[len(names) :])

    def scores(average: str | None) -> Any:
        return precision_recall_fscore_support(targets, predictions, labels=names, average=average, zero_division=0)

    rows = [
        LabelScores(name, float(precision), float(recall), float(f1), int(support))
        for name, precision, recall, f1, support in zip(names, *scores(None), strict=True)
    ]
    total = sum(row.support for row in rows)
    averages = []
    for name in AVERAGES:
        precision, recall, f1, _ = scores(name.removesuffix(" avg"))
        averages.append(LabelScores(name, float(precision), float(recall), float(f1), total))
    return LabelReport(tuple(rows), *averages)


def report_tokens(targets: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]) -> LabelReport:
    """Report on the tokens of tagged sentences; every tag is a label."""
    _check_lengths(targets, predictions)
    return report_labels([tag for tags in targets for tag in tags], [tag for tags in predictions for tag in tags])


def report_entities(targets: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]) -> LabelReport:
    """Report on the entities of sentences with tags in the scheme IOB2."""
    check_libraries()
    from seqeval.metrics import classification_report

    _check_lengths(targets, predictions)
    if not any(split_tag(tag)[0] for tags in (*targets, *predictions) for tag in tags):
        nothing = [LabelScores(name, 0.0, 0.0, 0.0, 0) for name in AVERAGES]
        return LabelReport((), *nothing)
    table: Mapping[str, Mapping[str, float]] = classification_report(
        [list(tags) for tags in targets], [list(tags) for tags in predictions], output_dict=True, zero_division=0
    )
    rows = {
        name: LabelScores(name, row["precision"], row["recall"], row["f1-score"], int(row["support"]))
        for name, row in table.items()
    }
    return LabelReport(
        tuple(row for name, row in rows.items() if name not in AVERAGES), *map(rows.__getitem__, AVERAGES)
    )


def _check_lengths(targets: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]) -> None:
    assert [len(tags) for tags in targets] == [len(tags) for tags in predictions], "one prediction per token"
