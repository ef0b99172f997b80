"""Reads a file into passages.

`iter_blocks` is the only function that knows file formats.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from turnwise.core.errors import InvalidData
from turnwise.core.knowledge import NewPassage
from turnwise.retrieval.parsed_document import BLOCK_SEPARATOR, Block

MAX_PASSAGE_CHARS = 1200
SUFFIXES = (".jsonl", ".md", ".txt")


def iter_blocks(path: Path) -> Iterator[Block]:
    """The blocks of a file: JSON lines with `text` (and `heading`, which names what follows), or plain text.

    Raises:
        InvalidData: the file is not UTF-8, or a line is not an object with a text.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            if path.suffix == ".jsonl":
                yield from _json_blocks(file, path)
            else:
                yield from _paragraphs(file)
    except UnicodeDecodeError as error:
        raise InvalidData(f"{path} is not UTF-8 text.") from error
    except OSError as error:
        raise InvalidData(f"{path} cannot be read: {error.strerror or error}.") from error


def iter_passages(blocks: Iterable[Block]) -> Iterator[NewPassage]:
    """Passages of blocks: each is one, and a long one several that end at white space."""
    start, headings = 0, list[tuple[int, str]]()
    for block in blocks:
        if block.kind == "heading":
            headings = [(level, name) for level, name in headings if level < block.level] + [(block.level, block.text)]
        else:
            names = tuple(name for _, name in headings)
            for first, last in _divide(block.text):
                yield NewPassage(block.text[first:last], start + first, start + last, names, block.page)
        start += len(block.text) + len(BLOCK_SEPARATOR)


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes. Raises `InvalidData` if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InvalidData(f"{path} cannot be read: {error.strerror or error}.") from error


def find_files(path: Path) -> list[Path]:
    """The file, or the files of a folder that can be read, in order. Raises `InvalidData` if there are none."""
    if path.is_file():
        return [path]
    files = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
    if not files:
        raise InvalidData(f"{path} is no file, and no folder with files ({', '.join(SUFFIXES)}).")
    return files


def _json_blocks(lines: Iterable[str], path: Path) -> Iterator[Block]:
    heading = ""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InvalidData(f"{path}, line {number:,}: it is not JSON.") from error
        text = row.get("text") if isinstance(row, dict) else None
        if not isinstance(text, str):
            raise InvalidData(f"{path}, line {number:,}: it should be an object with a 'text'.")
        name = row.get("heading") or ""
        if not isinstance(name, str):
            raise InvalidData(f"{path}, line {number:,}: 'heading' should be a text.")
        if name.strip() and name.strip() != heading:
            heading = name.strip()
            yield Block("heading", heading, level=1)
        if text.strip():
            yield Block("paragraph", text.strip())


def _paragraphs(lines: Iterable[str]) -> Iterator[Block]:
    paragraph: list[str] = []
    for line in chain(lines, [""]):
        if line.strip():
            paragraph.append(line.rstrip())
        elif paragraph:
            yield Block("paragraph", "\n".join(paragraph).strip())
            paragraph = []


def _divide(text: str) -> Iterator[tuple[int, int]]:
    """Positions of pieces of at most `MAX_PASSAGE_CHARS` characters that neither begin nor end with white space."""
    start = 0
    while start < len(text):
        end = min(start + MAX_PASSAGE_CHARS, len(text))
        if end < len(text):
            space = max(text.rfind(" ", start + 1, end), text.rfind("\n", start + 1, end))
            end = space if space > start else end
        piece = text[start:end]
        left = len(piece) - len(piece.lstrip())
        if piece.strip():
            yield start + left, start + len(piece.rstrip())
        start = end
