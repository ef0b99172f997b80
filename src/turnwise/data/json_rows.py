"""JSON values out of a file, one at a time: one per line (JSONL) or the elements of one array."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from turnwise.data.json_array import array_elements
from turnwise.data.lines import numbered_lines
from turnwise.data.rows import BadRow

# Half of a character that needs two escapes: it would be refused later by everything that writes UTF-8.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def json_values(file: BinaryIO) -> Iterator[tuple[int, Any] | BadRow]:
    """Each value with the line it starts on; what is not JSON is a bad row and the next value is read."""
    head = file.read(1024).removeprefix(codecs.BOM_UTF8).lstrip()
    file.seek(0)
    elements = array_elements(file) if head.startswith(b"[") else numbered_lines(file)
    for element in elements:
        if isinstance(element, BadRow):
            yield element
        elif element[1].strip():
            yield _value(*element)


def _value(line: int, text: str) -> tuple[int, Any] | BadRow:
    try:
        value = json.loads(text)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return BadRow(line, "it holds half of a surrogate pair (\\ud800 to \\udfff), which is no character")
    except RecursionError:
        return BadRow(line, "it is nested too deeply")
    except json.JSONDecodeError as error:
        where = f"character {error.pos + 1} of {len(text)}"
        return BadRow(line, f"it is not valid JSON ({error.msg[0].lower()}{error.msg[1:]} at {where})")
    except ValueError:
        return BadRow(line, "it is not valid JSON (a number has too many digits)")
    return line, value
