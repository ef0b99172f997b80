"""JSON: a value per line, one array, values one after the other, or an object that holds the rows."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Literal

from turnwise.data import formats
from turnwise.data.containers import RenameColumns, Value
from turnwise.data.json_documents import Element, array_elements, document_values
from turnwise.data.json_prefix import is_complete
from turnwise.data.lines import numbered_lines
from turnwise.data.nested_rows import expand_rows, find_rows
from turnwise.data.rows import HALF_A_PAIR, BadRow, FileSample

UNIT = "line"
MAX_INSPECTED = 50  # lines, of which some may be broken
# Half of a character that needs two escapes: it would be refused later by everything that writes UTF-8.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def sniff(sample: FileSample) -> float:
    """Sure of a value in one of the first lines, or of a document that begins well."""
    text = sample.text.lstrip()
    if "\0" in text:
        return 0.0
    if text.startswith(("{", "[")) and (is_complete(text) or _layout(sample) != "lines"):
        return 1.0 if text.startswith("{") or re.match(r"\[\s*[\[{\"\]]", text) else 0.0
    lines = (line.strip() for line in text.split("\n")[:MAX_INSPECTED])
    return 1.0 if any(line.startswith(("{", "[{")) and _parses(line) for line in lines) else 0.0


def values(file: BinaryIO, sample: FileSample, renamed: RenameColumns) -> Iterator[Value]:
    """Each row with the line it starts on; what is not JSON is a bad row and the next value is read."""
    layout = _layout(sample)
    if layout == "array":
        elements: Iterable[Element] = array_elements(file)
    else:
        elements = numbered_lines(file) if layout == "lines" else document_values(file, find_rows)
    expands: bool | None = None if layout != "array" else False
    for element in elements:
        if isinstance(element, BadRow):
            yield element
        elif element[1].strip():
            value = _value(*element)
            if isinstance(value, BadRow):
                yield value
                continue
            if expands is None:  # as the first value is, so are the others
                expands = not formats.is_row(_renamed(value[1], renamed))
            yield from expand_rows(*value) if expands else [value]


def _renamed(value: Any, renamed: RenameColumns) -> Any:
    return dict(zip(renamed(list(value)), value.values(), strict=True)) if isinstance(value, dict) else value


def _layout(sample: FileSample) -> Literal["lines", "array", "documents"]:
    """How values are laid out, by the beginning of the file."""
    text = sample.text.lstrip()
    first, _, rest = text.partition("\n")
    following = rest.lstrip().partition("\n")[0].strip()
    if text.startswith("["):
        return "lines" if _parses(first) and following.startswith("[") else "array"
    if not text.startswith("{"):
        return "lines"
    if "\n" in text or sample.is_complete:
        if _parses(first):
            return "documents" if not following and _holds_rows(first) else "lines"
        if following.startswith("{") and _parses(following):
            return "lines"  # the first line is broken
        return "documents" if _begins_well(text, sample) else "lines"
    return "documents"


def _holds_rows(text: str) -> bool:
    value = json.loads(text)
    return isinstance(value, dict) and find_rows(value) is not False


def _begins_well(text: str, sample: FileSample) -> bool:
    """Whether a document of several lines begins here, as far as can be seen."""
    if is_complete(text):
        return True
    try:
        json.JSONDecoder().raw_decode(text)
    except RecursionError:
        return False
    except json.JSONDecodeError as error:
        lines = [line.strip() for line in text.split("\n")[1:MAX_INSPECTED]]
        rows = sum(line.startswith("{") and line.endswith("}") and _parses(line) for line in lines)
        # A document that is cut off by the end of the sample, or that has a mistake further down.
        return rows * 2 < len(lines) and (
            error.pos > len(text) // 2 or not sample.is_complete or "\n" in text[: error.pos]
        )
    return True


def _parses(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _value(line: int, text: str) -> tuple[int, Any] | BadRow:
    try:
        value = json.loads(text)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return BadRow(line, HALF_A_PAIR)
    except RecursionError:
        return BadRow(line, "it is nested too deeply")
    except json.JSONDecodeError as error:
        where = f"character {error.pos + 1} of {len(text)}"
        return BadRow(line, f"it is not valid JSON ({error.msg[0].lower()}{error.msg[1:]} at {where})")
    except ValueError:
        return BadRow(line, "it is not valid JSON (a number has too many digits)")
    return line, value
