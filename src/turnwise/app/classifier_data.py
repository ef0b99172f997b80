"""Loads annotated texts for the evaluation and the calibration of a classifier."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path

from turnwise.core.errors import InvalidData, InvalidParameter
from turnwise.core.plurals import pluralize
from turnwise.core.tag_schemes import OUTSIDE, split_tag
from turnwise.data.annotations.annotated import Annotated, AnnotationKind, LabeledText, TaggedSentence
from turnwise.data.data_files import HELD_OUT_SPLITS, held_out_split
from turnwise.data.read_options import ReadOptions
from turnwise.data.split_folders import SplitName
from turnwise.models.classifier_config import ClassifierConfig
from turnwise.training.examples.annotated_rows import AnnotatedRows
from turnwise.training.recipe_sections import SourceConfig

MAX_LISTED = 5  # unknown labels in a message


@dataclass(frozen=True)
class ClassifierData:
    """Annotated texts that a classifier can be evaluated on.

    Attributes:
        items: texts or sentences, whose labels the classifier knows.
        split: the split that was read, if the path is a split folder.
        num_bad_rows: skipped rows that are malformed.
        unknown_labels: labels that the classifier does not know, with the number of texts that were left out.
        num_without_one_label: texts that were left out because they have no label or several, and the classifier
            predicts one.
    """

    items: Sequence[Annotated]
    split: str | None = None
    num_bad_rows: int = 0
    unknown_labels: Mapping[str, int] = field(default_factory=dict)
    num_without_one_label: int = 0

    @property
    def texts(self) -> list[LabeledText]:
        """The texts with labels."""
        return [item for item in self.items if isinstance(item, LabeledText)]

    @property
    def sentences(self) -> list[TaggedSentence]:
        """The sentences with tags."""
        return [item for item in self.items if isinstance(item, TaggedSentence)]

    def notes(self) -> list[str]:
        """Sentences about what was left out."""
        sentences = []
        if self.num_bad_rows:
            sentences.append(f"{pluralize(self.num_bad_rows, 'bad row')} skipped.")
        if self.unknown_labels:
            sentences.append(f"Left out: {describe_unknown(self.unknown_labels)}.")
        if self.num_without_one_label:
            count = pluralize(self.num_without_one_label, "text")
            sentences.append(f"Left out: {count} with no label or with several.")
        return sentences


def load_classifier_data(
    path: Path,
    config: ClassifierConfig,
    options: ReadOptions | None = None,
    *,
    none_label: str | None = None,
    limit: int | None = None,
    context_words: int = 0,
    splits: Sequence[SplitName] = HELD_OUT_SPLITS,
    skip_bad_rows: bool = False,
) -> ClassifierData:
    """Load annotated texts for a classifier.

    Args:
        path: a file, a folder, or a split folder, of which the test or validation split is read.
        config: the classifier's task and labels.
        options: encoding and columns.
        none_label: label of texts that belong to none of the classifier's labels, beside the one with which it was
            trained; it is removed from them.
        limit: maximum number of texts or sentences, from the start.
        context_words: words of the document that sentences get as context.
        splits: splits of a folder to read, the first that there is.
        skip_bad_rows: skip malformed rows, and leave out texts with labels that the classifier does not know.

    Raises:
        InvalidData: there are no texts, they are annotated for another task, a row is malformed or has an unknown label
            and `skip_bad_rows` is not set.
        InvalidParameter: an option does not apply to annotated texts, or `none_label` is one of the labels.
    """
    if none_label is not None and none_label in config.labels:
        raise InvalidParameter("none_label", f"'{none_label}' is a label that the classifier predicts.")
    split = held_out_split(path, splits)
    rows = open_annotations(
        path, config, options, context_words=context_words, split=split, skip_bad_rows=skip_bad_rows
    )
    items = [item for _, item in rows.rows()][:limit]
    _check_task(path, config, items)
    data = select_usable(config, items, none_label=none_label)
    if not skip_bad_rows:
        _reject_left_out(path, config, data, none_label=none_label)
    if not data.items:
        raise InvalidData(f"{path} has no text with a label that the classifier knows.")
    return replace(data, split=split, num_bad_rows=rows.bad_row_count)


def open_annotations(
    path: Path,
    config: ClassifierConfig,
    options: ReadOptions | None = None,
    *,
    context_words: int = 0,
    split: SplitName | None = None,
    skip_bad_rows: bool = False,
) -> AnnotatedRows:
    """Open a file or (a split of) a folder of annotated texts; arguments and errors as for `load_classifier_data`."""
    options = options or ReadOptions()
    chat_options = {"format": options.format, "role": options.roles, "assistant_name": options.assistant_name}
    for name, value in chat_options.items():
        if value:
            raise InvalidParameter(name, f"--{name.replace('_', '-')} is for dialogues, not for annotated texts.")
    kind: AnnotationKind = "tags" if config.task == "token_classification" else "labels"
    source = SourceConfig(path=str(path), split=split, encoding=options.encoding, columns=dict(options.columns))
    return AnnotatedRows(source, kind, skip_bad_rows=skip_bad_rows, context_words=context_words)


def select_usable(
    config: ClassifierConfig, items: Iterable[Annotated], *, none_label: str | None = None
) -> ClassifierData:
    """Select the texts that the classifier can be evaluated on: it knows their labels, and can predict as many.

    Of tags only the labels of entities have to be known: a tagger that never saw "I-LOC" makes an error there.

    Args:
        config: the classifier's task and labels.
        items: texts or sentences.
        none_label: label of texts that belong to none of the labels, beside the classifier's own; it is removed from
            them. Without either, every text has a label.
    """
    none_labels = {none_label, config.none_label} - {None}
    known_labels = {_entity_label(label) for label in config.labels} | {OUTSIDE}
    usable, unknown, num_without_one_label = [], Counter[str](), 0
    for item in (_without_labels(item, none_labels) for item in items):
        names = item.labels if isinstance(item, LabeledText) else {_entity_label(tag) for tag in item.tags}
        allowed = set(config.labels) if isinstance(item, LabeledText) else known_labels
        if missing := set(names) - allowed:
            unknown.update(missing)
        elif isinstance(item, LabeledText) and not (
            config.is_multi_label or _has_one_label(item, can_be_none=bool(none_labels))
        ):
            num_without_one_label += 1
        else:
            usable.append(item)
    return ClassifierData(usable, unknown_labels=unknown, num_without_one_label=num_without_one_label)


def describe_unknown(unknown: Mapping[str, int]) -> str:
    """Labels with their numbers of texts, the most frequent first."""
    ordered = sorted(unknown.items(), key=lambda entry: (-entry[1], entry[0]))
    names = ", ".join(f"'{label}' ({count:,})" for label, count in ordered[:MAX_LISTED])
    more = f" and {len(ordered) - MAX_LISTED:,} more" if len(ordered) > MAX_LISTED else ""
    return f"texts with {pluralize(len(ordered), 'label')} that the classifier does not know: {names}{more}"


def _reject_left_out(path: Path, config: ClassifierConfig, data: ClassifierData, *, none_label: str | None) -> None:
    """Raise `InvalidData` if a text was left out."""
    if data.unknown_labels:
        can_refuse = none_label is None and config.task == "sequence_classification"
        hint = "--none-label LABEL expects no label there; " if can_refuse else ""
        raise InvalidData(
            f"{path}: {describe_unknown(data.unknown_labels)}. {hint}--skip-bad-rows leaves such texts out."
        )
    if data.num_without_one_label:
        count = pluralize(data.num_without_one_label, "text")
        raise InvalidData(
            f"{path}: {count} with no label or with several, and the classifier predicts one label. --skip-bad-rows "
            "leaves them out."
        )


def _has_one_label(text: LabeledText, *, can_be_none: bool) -> bool:
    return len(text.labels) == 1 or (not text.labels and can_be_none)


def _check_task(path: Path, config: ClassifierConfig, items: Sequence[Annotated]) -> None:
    """Raise `InvalidData` if the data are annotated for the other task."""
    if config.task == "sequence_classification" and any(isinstance(item, TaggedSentence) for item in items):
        raise InvalidData(f"{path} holds sentences with tags, and this classifier labels texts.")
    if config.task == "token_classification" and any(isinstance(item, LabeledText) for item in items):
        raise InvalidData(f"{path} holds texts with labels, and this classifier tags words.")


def _without_labels(item: Annotated, none_labels: Set[str | None]) -> Annotated:
    if not isinstance(item, LabeledText) or none_labels.isdisjoint(item.labels):
        return item
    return replace(item, labels=tuple(label for label in item.labels if label not in none_labels))


def _entity_label(tag: str) -> str:
    return split_tag(tag)[1]
