"""The contents of the report on a classifier."""

from collections.abc import Sequence
from dataclasses import dataclass

from turnwise.core.plurals import pluralize
from turnwise.evaluation.classification.calibration import Calibration
from turnwise.evaluation.classification.classifier_evaluation import ClassifierEvaluation
from turnwise.evaluation.classification.confusion import Confusion, ConfusionMatrix
from turnwise.evaluation.classification.label_report import LabelReport
from turnwise.evaluation.classification.worst_errors import MarkedText, SentenceError, TextError
from turnwise.evaluation.report import number_format as numbers
from turnwise.evaluation.report.escaping import clean
from turnwise.evaluation.report.page import ReportPage, shared_contents
from turnwise.evaluation.report.svg import ReportFigure

MAX_CONFUSIONS = 20
NUM_SHADES = 4  # of the cells of a confusion matrix


@dataclass(frozen=True, slots=True)
class LabelTable:
    """Scores per label as text: label, precision, recall, F1 and support; `averages` are the last rows."""

    title: str
    rows: Sequence[tuple[str, ...]]
    averages: Sequence[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """A row of the confusion matrix: the true label; counts with their shades, from 0 to `NUM_SHADES`."""

    label: str
    cells: Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class ErrorExample:
    """A wrong prediction: the text, or the sentence with both kinds of spans; `facts` says the labels."""

    text: str
    facts: str
    target: MarkedText = ()
    prediction: MarkedText = ()


@dataclass(frozen=True, kw_only=True)
class ClassifierPage(ReportPage):
    """A report on a classifier.

    Attributes:
        notes: sentences about the data.
        tables: scores per label.
        confusions: the most frequent confusions: true label, predicted label, count, share of the true label.
        matrix: rows of the confusion matrix; its columns have the same labels.
        matrix_note: which labels the matrix shows.
        calibration: name of the system, expected calibration error, mean confidence and accuracy.
        errors: the worst errors.
        error_note: how many errors there are, and which are shown.
    """

    notes: Sequence[str]
    tables: Sequence[LabelTable]
    confusions: Sequence[tuple[str, str, str, str]]
    matrix: Sequence[MatrixRow]
    matrix_note: str
    calibration: Sequence[tuple[str, str, str, str]]
    errors: Sequence[ErrorExample]
    error_note: str


def build_classifier_page(
    evaluation: ClassifierEvaluation, figures: Sequence[ReportFigure], notes: Sequence[str] = ()
) -> ClassifierPage:
    """Build the contents of a report; `notes` are sentences about the data."""
    shared = shared_contents(evaluation.scorecard, figures, evaluation.unit)
    is_tagger = evaluation.unit == "sentence"
    tables = [_label_table("Entities", evaluation.entities)] if evaluation.entities is not None else []
    tables.append(_label_table("Words" if is_tagger else "Texts", evaluation.labels))
    calibrations = ((shared["model"], evaluation.calibration), (shared["base"], evaluation.base_calibration))
    matrix = None if evaluation.confusions is None else evaluation.confusions.matrix()
    confusions = [] if evaluation.confusions is None else evaluation.confusions.largest(MAX_CONFUSIONS)
    return ClassifierPage(
        **shared,
        notes=[clean(note) for note in notes],
        tables=tables,
        confusions=[_confusion_row(entry) for entry in confusions],
        matrix=[] if matrix is None else _matrix_rows(matrix),
        matrix_note="" if matrix is None else _matrix_note(matrix, is_tagger=is_tagger),
        calibration=[_calibration_row(name, entry) for name, entry in calibrations if entry is not None],
        errors=[_error_example(error) for error in evaluation.errors],
        error_note=_error_note(evaluation),
    )


def _label_table(title: str, report: LabelReport) -> LabelTable:
    rows = [
        (clean(row.label), *(f"{value:.3f}" for value in (row.precision, row.recall, row.f1)), f"{row.support:,}")
        for row in (*report.labels, report.micro, report.macro, report.weighted)
    ]
    return LabelTable(title, rows[:-3], rows[-3:])


def _confusion_row(confusion: Confusion) -> tuple[str, str, str, str]:
    share = f"{confusion.count / confusion.support:.1%}"
    return clean(confusion.target), clean(confusion.prediction), f"{confusion.count:,}", share


def _matrix_rows(matrix: ConfusionMatrix) -> list[MatrixRow]:
    """Cells are shaded by their share of the row, in steps of equal width; a count that is not 0 has a shade."""
    rows = []
    for label, counts in zip(matrix.labels, matrix.counts, strict=True):
        total = max(sum(counts), 1)
        shades = [min(NUM_SHADES, 1 + NUM_SHADES * count // total) if count else 0 for count in counts]
        cells = [f"{count:,}" if count else "" for count in counts]
        rows.append(MatrixRow(clean(label), list(zip(cells, shades, strict=True))))
    return rows


def _matrix_note(matrix: ConfusionMatrix, *, is_tagger: bool) -> str:
    note = "Rows: true label. Columns: predicted label, by the number of its row."
    if is_tagger:
        note += " Words are counted, without the prefixes of their tags."
    if matrix.num_hidden:
        note += f" Only the {len(matrix.labels)} labels with the most confusions of {_total(matrix):,} are shown."
    return note


def _total(matrix: ConfusionMatrix) -> int:
    return len(matrix.labels) + matrix.num_hidden


def _calibration_row(name: str, calibration: Calibration) -> tuple[str, str, str, str]:
    return (
        name,
        numbers.format_value(calibration.error, ".3f"),
        numbers.format_value(calibration.confidence, ".1%"),
        numbers.format_value(calibration.accuracy, ".1%"),
    )


def _error_example(error: TextError | SentenceError) -> ErrorExample:
    if isinstance(error, SentenceError):
        target, prediction = (
            tuple((clean(text), clean(label)) for text, label in side) for side in (error.target, error.prediction)
        )
        return ErrorExample("", f"probability of the wrong tag {error.probability:.2f}", target, prediction)
    facts = f"true: {clean(error.target)}; predicted: {clean(error.prediction)}; probability {error.probability:.2f}"
    if error.target_probability is not None:
        facts += f", of the true label {error.target_probability:.3f}"
    return ErrorExample(clean(error.text), facts)


def _error_note(evaluation: ClassifierEvaluation) -> str:
    if not evaluation.num_errors:
        return f"No {evaluation.unit} has an error."
    verb = "has" if evaluation.num_errors == 1 else "have"
    note = f"{evaluation.num_errors:,} of {pluralize(evaluation.num_items, evaluation.unit)} {verb} an error."
    order = (
        "the highest probability of a wrong tag" if evaluation.unit == "sentence" else "the highest loss"
    )  # loss: −log(probability of the true label)
    if len(evaluation.errors) < evaluation.num_errors:
        note += f" The {len(evaluation.errors)} with {order} are shown."
    return note + " A confident error is often a wrong label in the data."
