"""Rows of CSV, JSON and Parquet files as annotated texts: texts with labels, tokens with tags, texts with spans."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

from turnwise.core.tag_schemes import OUTSIDE
from turnwise.data.annotations.annotated import Annotated, AnnotationKind, LabeledText, TaggedSentence
from turnwise.data.columns import LABEL_COLUMNS, find_column
from turnwise.data.rows import RowError, json_type_name, require_mapping, require_text
from turnwise.text.words import split_words

EXPECTED = (
    "a text and its label (columns 'text' and 'label'), a text with a list of 'labels', 'tokens' with 'tags', or a "
    '\'text\' with \'spans\' such as {"start": 0, "end": 5, "label": "LOC"}'
)
TEXT_COLUMNS = ("text", "sentence", "utterance", "query", "content", "message", "tweet", "headline", "title", "review")
TOKEN_COLUMNS = ("tokens", "words")
TAG_COLUMNS = ("tags", "ner_tags", "pos_tags", "labels", "ner")
SPAN_COLUMNS = ("spans", "entities", "label")  # doccano writes spans under "label"


def parse_row(
    value: Any, columns: Mapping[str, str], document: int, annotation_kind: AnnotationKind | None = None
) -> Annotated:
    """Parse a row.

    Args:
        value: the row, an object with keys.
        columns: names of the columns by meaning ("text", "label", "tokens", "tags", "spans"); others are looked for.
        document: number of the document that a tagged sentence of this row is.
        annotation_kind: read labels or tags, if a row may have both; None: the first it has of tokens, spans, labels.

    Raises `RowError` if it is not an annotated text.
    """
    row = require_mapping(value)
    tokens = _column(row, columns, "tokens", TOKEN_COLUMNS)
    if tokens is not None and isinstance(row[tokens], list) and annotation_kind != "labels":
        return _tagged(row, tokens, _required(row, columns, "tags", TAG_COLUMNS), document)
    text = _required(row, columns, "text", TEXT_COLUMNS)
    spans = _column(row, columns, "spans", SPAN_COLUMNS)
    if spans is not None and annotation_kind != "labels" and _are_spans(row[spans], is_label_column=spans == "label"):
        return tag_spans(require_text(row[text], f"'{text}'"), row[spans], document)
    label = _required(row, columns, "label", LABEL_COLUMNS)
    return LabeledText(require_text(row[text], f"'{text}'"), _labels(row[label], label))


def tag_spans(text: str, spans: Sequence[Any], document: int = 0) -> TaggedSentence:
    """Return a text with labelled spans of characters as a sentence of words with tags.

    Words end at white space, at punctuation, and where a span begins or ends; a Chinese or Japanese character is a
    word. Raises `RowError` for spans that overlap, lie outside of the text, or have another 'text' than the characters.
    """
    bounds = sorted((_span(span, text) for span in spans), key=lambda span: span[:2])
    for (_, end, _), (start, _, label) in pairwise(bounds):
        if start < end:
            raise RowError(f"the span of {label!r} at {start} overlaps with the one before it")
    tokens: list[str] = []
    tags: list[str] = []
    position = 0
    for start, end, label in [*bounds, (len(text), len(text), OUTSIDE)]:
        outside = [word.text for word in split_words(text[position:start])]
        inside = [word.text for word in split_words(text[start:end])]
        if start < end and not inside:
            raise RowError(f"the span of {label!r} at {start} holds no word")
        tokens += outside + inside
        tags += [OUTSIDE] * len(outside) + [f"{'I' if index else 'B'}-{label}" for index in range(len(inside))]
        position = end
    if not tokens:
        raise RowError("its text holds no word")
    return TaggedSentence(tuple(tokens), tuple(tags), document)


def _column(row: Mapping[str, Any], columns: Mapping[str, str], meaning: str, candidates: Sequence[str]) -> str | None:
    if meaning not in columns:
        return find_column(row, candidates)
    if columns[meaning] not in row:
        raise RowError(f"there is no column or key '{columns[meaning]}' (there are {', '.join(map(str, row))})")
    return columns[meaning]


def _required(row: Mapping[str, Any], columns: Mapping[str, str], meaning: str, candidates: Sequence[str]) -> str:
    name = _column(row, columns, meaning, candidates)
    if name is None:
        names = ", ".join(map(str, row)) or "none"
        raise RowError(f"it has no column or key for the {meaning} (there are {names}; name it with --columns)")
    return name


def _tagged(row: Mapping[str, Any], tokens: str, tags: str, document: int) -> TaggedSentence:
    words, names = row[tokens], row[tags]
    if not isinstance(names, list):
        raise RowError(f"'{tags}' is {json_type_name(names)}, not a list")
    if len(words) != len(names):
        raise RowError(f"it has {len(words)} tokens and {len(names)} tags")
    if not words:
        raise RowError("it has no tokens")
    return TaggedSentence(
        tuple(require_text(word, "a token") for word in words), tuple(_name(name, "a tag") for name in names), document
    )


def _labels(value: Any, column: str) -> tuple[str, ...]:
    if isinstance(value, str) and value.startswith("["):  # a cell of a table
        with suppress(ValueError):  # else it is a label that begins with a bracket
            value = json.loads(value)
    if isinstance(value, list):
        return tuple(dict.fromkeys(_name(label, f"a label of '{column}'") for label in value))
    return (_name(value, f"'{column}'"),)


def _name(value: Any, what: str) -> str:
    """A label as text; numbers are the names of their classes."""
    if isinstance(value, bool | int):
        return str(value).lower()
    return require_text(value, what).strip()


def _are_spans(value: Any, *, is_label_column: bool) -> bool:
    """True for a list of spans. An empty list under "label" are no labels rather than no spans."""
    return isinstance(value, list) and all(map(_is_span, value)) and bool(value or not is_label_column)


def _is_span(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) == 3 and isinstance(value[0], int)
    return isinstance(value, dict) and "start" in value


def _span(value: Any, text: str) -> tuple[int, int, str]:
    start, end, label = value if isinstance(value, list) else (value.get(key) for key in ("start", "end", "label"))
    if not isinstance(start, int) or not isinstance(end, int) or not 0 <= start < end <= len(text):
        raise RowError(f"a span is from {start} to {end}, and the text has {len(text)} characters")
    name = _name(label, "the label of a span")
    span_text = value.get("text") if isinstance(value, dict) else None
    if isinstance(span_text, str) and span_text.strip() != text[start:end].strip():
        raise RowError(
            f"the span of {name!r} from {start} to {end} has another 'text' than these characters; positions count "
            "Unicode code points from 0"
        )
    return start, end, name
