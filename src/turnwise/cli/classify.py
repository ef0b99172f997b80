"""`turnwise classify` and `turnwise tag`: label texts of a file, a pipe or the command line."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnwise.cli.shared_flags import QuantizeClassifier

if TYPE_CHECKING:
    from turnwise.core.classification import TaggedText, TextLabels

TEXTS_PER_CHUNK = 256  # of a file; texts of a pipe are labelled as they arrive

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="Name of a bundled classifier, or folder of a trained one.")
]
File = Annotated[
    Path | None, typer.Argument(metavar="FILE", help="A text per line, or JSON lines with the key `text`. `-`: stdin.")
]
Texts = Annotated[list[str] | None, typer.Option("--text", help="A text. Can be given several times.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON lines with all scores.")]
Threads = Annotated[int | None, typer.Option(help="Number of threads. Default: as many as cores.", min=1)]


def classify(
    model: Model,
    file: File = None,
    text: Texts = None,
    as_json: AsJson = False,
    quantize: QuantizeClassifier = None,
    threads: Threads = None,
) -> None:
    """Print the label of every text and its probability.

    **Examples**

    ```
    turnwise classify financial-sentiment --text "Acme cuts its outlook"
    turnwise train intents.csv --objective sequence_classification --base-model minilm --out runs/intents
    turnwise classify runs/intents --text "Where is my parcel?"
    tail -f messages.log | turnwise classify runs/intents - --json --quantize int8
    ```
    """
    from turnwise.app.classifiers import open_classifier

    classifier = open_classifier(model, quantize=quantize, threads=threads)
    for texts in _chunks(file, text):
        for item, result in zip(texts, classifier.classify(texts), strict=True):
            print(_label_json(item, result) if as_json else _label_line(item, result), flush=True)


def tag(
    model: Model,
    file: File = None,
    text: Texts = None,
    as_json: AsJson = False,
    quantize: QuantizeClassifier = None,
    threads: Threads = None,
) -> None:
    """Print the labelled spans of every text.

    **Examples**

    ```
    turnwise train conll2003 --objective token_classification --base-model minilm --out runs/names
    turnwise tag runs/names --text "Ada Lovelace lived in London."
    turnwise tag runs/names articles.txt --json
    ```
    """
    from turnwise.app.classifiers import open_classifier

    classifier = open_classifier(model, quantize=quantize, threads=threads)
    for texts in _chunks(file, text):
        for result in classifier.tag(texts):
            print(_span_json(result) if as_json else _span_line(result), flush=True)


def _chunks(file: Path | None, texts: Sequence[str] | None) -> Iterator[list[str]]:
    """The texts to label, in chunks that are computed together."""
    from turnwise.core.errors import InvalidParameter

    if (file is None) == (texts is None):
        raise InvalidParameter("text", "Give a file, - for standard input, or one or more --text.")
    if file is None:
        yield list(texts or ())
        return
    if str(file) == "-":
        with _explained_errors("standard input"):
            sys.stdin.reconfigure(encoding="utf-8-sig")  # type: ignore[union-attr]
            yield from ([text] for text in _parse_lines(sys.stdin, "standard input"))
        return
    parsed = read_text_file(file)
    while chunk := list(islice(parsed, TEXTS_PER_CHUNK)):
        yield chunk


def read_text_file(file: Path) -> Iterator[str]:
    """The texts of a file, one per line or JSON object. Raises `InvalidData`."""
    with _explained_errors(str(file)), file.open(encoding="utf-8-sig") as lines:
        yield from _parse_lines(lines, str(file))


@contextmanager
def _explained_errors(name: str) -> Iterator[None]:
    """Raise `InvalidData` for errors of the operating system and of the encoding."""
    from turnwise.core.errors import InvalidData

    try:
        yield
    except UnicodeDecodeError as error:
        raise InvalidData(f"{name} is not UTF-8: {error.reason}.") from error
    except OSError as error:
        raise InvalidData(f"Could not read {name}: {error.strerror or error}.") from error


def _parse_lines(lines: Iterable[str], name: str) -> Iterator[str]:
    """The text of every line that is not blank. If the first one is a JSON object, all are, and the text is `text`."""
    from turnwise.core.errors import InvalidData

    has_objects: bool | None = None
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            continue
        if has_objects is None:
            has_objects = _parse_object(text) is not None
        if has_objects:
            value = (_parse_object(text) or {}).get("text")
            if not isinstance(value, str):
                raise InvalidData(f"{name}, line {number}: it is not a JSON object with the key 'text'.")
            text = value
        if text.strip():
            yield text


def _parse_object(line: str) -> dict[str, Any] | None:
    """The JSON object in a line; None for other lines."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _label_line(text: str, result: "TextLabels") -> str:
    labels = ", ".join(result.labels) or "(none)"
    return f"{labels}\t{result.scores[0].probability:.3f}\t{' '.join(text.split())}"


def _label_json(text: str, result: "TextLabels") -> str:
    scores = {score.label: round(score.probability, 6) for score in result.scores}
    values = {"text": text, "labels": result.labels, "scores": scores, "is_truncated": result.is_truncated}
    return json.dumps(values, ensure_ascii=False)


def _span_line(result: "TaggedText") -> str:
    """The text with its spans in brackets: "[PER Ada Lovelace] lived in [LOC London]."""
    parts, position = [], 0
    for span in result.spans:
        parts += [result.text[position : span.start], f"[{span.label} {span.text}]"]
        position = span.end
    return " ".join("".join([*parts, result.text[position:]]).split())


def _span_json(result: "TaggedText") -> str:
    spans = [
        {"start": span.start, "end": span.end, "text": span.text, "label": span.label,
         "probability": round(span.probability, 6)}
        for span in result.spans
    ]  # fmt: skip
    return json.dumps({"text": result.text, "spans": spans}, ensure_ascii=False)
