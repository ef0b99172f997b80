"""JSON: a value per line, one array, several values one after another, or an object that holds rows."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Literal

from turnwise.data import formats
from turnwise.data.containers import RenameColumns
from turnwise.data.json_cursor import Element
from turnwise.data.json_documents import array_elements, document_values
from turnwise.data.json_prefix import starts_with_complete_json
from turnwise.data.lines import numbered_lines
from turnwise.data.nested_rows import expand_rows, find_rows_key
from turnwise.data.rows import LONE_SURROGATE, BadRow, FileSample, NumberedValue

UNIT = "line"
MAX_INSPECTED = 50  # lines looked at to detect the layout, as some may be broken
# One half of a character that needs two escapes. Alone it cannot be encoded as UTF-8.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def sniff(sample: FileSample) -> float:
    """High if one of the first lines is a JSON value, or if a document starts here."""
    text = sample.text.lstrip()
    if "\0" in text:
        return 0.0
    if text.startswith(("{", "[")) and (starts_with_complete_json(text) or _layout(sample) != "lines"):
        return 1.0 if text.startswith("{") or re.match(r"\[\s*[\[{\"\]]", text) else 0.0
    lines = (line.strip() for line in text.split("\n")[:MAX_INSPECTED])
    return 1.0 if any(line.startswith(("{", "[{")) and _is_json(line) for line in lines) else 0.0


def values(file: BinaryIO, sample: FileSample, rename_columns: RenameColumns) -> Iterator[NumberedValue]:
    """Yield each row with the line at which it starts; text that is not JSON is a bad row."""
    layout = _layout(sample)
    if layout == "array":
        elements: Iterable[Element] = array_elements(file)
    else:
        elements = numbered_lines(file) if layout == "lines" else document_values(file, find_rows_key)
    has_nested_rows: bool | None = None if layout != "array" else False
    for element in elements:
        if isinstance(element, BadRow):
            yield element
        elif element[1].strip():
            value = _load(*element)
            if isinstance(value, BadRow):
                yield value
                continue
            if has_nested_rows is None:  # the first value decides for all
                has_nested_rows = not formats.is_row(_rename_keys(value[1], rename_columns))
            yield from expand_rows(*value) if has_nested_rows else [value]


def _rename_keys(value: Any, rename_columns: RenameColumns) -> Any:
    if not isinstance(value, dict):
        return value
    return dict(zip(rename_columns(list(value)), value.values(), strict=True))


def _layout(sample: FileSample) -> Literal["lines", "array", "documents"]:
    """Detect from the first lines how the values are laid out."""
    text = sample.text.lstrip()
    first, _, tail = text.partition("\n")
    second = tail.lstrip().partition("\n")[0].strip()
    if text.startswith("["):
        return "lines" if _is_json(first) and second.startswith("[") else "array"
    if not text.startswith("{"):
        return "lines"
    if "\n" in text or sample.is_complete:
        if _is_json(first):
            return "documents" if not second and _holds_rows(first) else "lines"
        if second.startswith("{") and _is_json(second):
            return "lines"  # the first line is broken
        return "documents" if _starts_document(text, sample) else "lines"
    return "documents"


def _holds_rows(text: str) -> bool:
    value = json.loads(text)
    return isinstance(value, dict) and find_rows_key(value) is not False


def _starts_document(text: str, sample: FileSample) -> bool:
    """Return True if the sample may be the start of a document of several lines."""
    if starts_with_complete_json(text):
        return True
    try:
        json.JSONDecoder().raw_decode(text)
    except RecursionError:
        return False
    except json.JSONDecodeError as error:
        lines = [line.strip() for line in text.split("\n")[1:MAX_INSPECTED]]
        num_rows = sum(line.startswith("{") and line.endswith("}") and _is_json(line) for line in lines)
        # The document may be cut off by the end of the sample, or have an error further down.
        is_plausible = error.pos > len(text) // 2 or not sample.is_complete or "\n" in text[: error.pos]
        return num_rows * 2 < len(lines) and is_plausible
    return True


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _load(line: int, text: str) -> NumberedValue:
    try:
        value = json.loads(text)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return BadRow(line, LONE_SURROGATE)
    except RecursionError:
        return BadRow(line, "it is nested too deeply")
    except json.JSONDecodeError as error:
        position = f"character {error.pos + 1} of {len(text)}"
        return BadRow(line, f"it is not valid JSON ({error.msg[0].lower()}{error.msg[1:]} at {position})")
    except ValueError:
        return BadRow(line, "it is not valid JSON (a number has too many digits)")
    return line, value
