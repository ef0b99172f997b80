"""One file per data format; the file's name is the format's name.

A format file begins with a line "Its title: what it reads." and has

- `EXPECTED`: what a row should be, as the end of a sentence that begins with "Expected";
- `EXAMPLE`: a tiny valid file, text or bytes;
- `sniff(sample) -> float`: how sure it is, from 0 to 1, that a file is its own;
- `read(file) -> Iterator[Row]`: the rows of an open, decompressed, seekable binary file; raises `Unreadable` when the
  file as a whole cannot be read, and never stops at a bad row;
- optionally `UNIT`: what a row's number counts, when it is not the line.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from turnwise.core.errors import InvalidData, did_you_mean
from turnwise.data.rows import Row, Sample

SURE_ENOUGH = 0.2


@dataclass(frozen=True, slots=True)
class Format:
    """A format's contract, see this package's docstring."""

    name: str
    summary: str
    expected: str
    example: bytes
    sniff: Callable[[Sample], float]
    read: Callable[[BinaryIO], Iterator[Row]]
    unit: str


def names() -> list[str]:
    """All formats there are, in alphabetical order."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> Format:
    """The format called `name`. Raises `InvalidData` naming the nearest one when there is none."""
    if name not in names():
        raise InvalidData(f"Unknown data format '{name}': {did_you_mean(name, names())}")
    module = importlib.import_module(f"{__name__}.{name}")
    return Format(
        name=name,
        summary=(module.__doc__ or "").partition("\n")[0].partition(": ")[2],
        expected=module.EXPECTED,
        example=module.EXAMPLE.encode() if isinstance(module.EXAMPLE, str) else module.EXAMPLE,
        sniff=module.sniff,
        read=module.read,
        unit=getattr(module, "UNIT", "line"),
    )


def detect(sample: Sample) -> Format:
    """The format that is surest of the sample. Raises `InvalidData` saying what was seen when none is."""
    candidates = [load(name) for name in names()]
    best = max(candidates, key=lambda candidate: candidate.sniff(sample))
    if best.sniff(sample) >= SURE_ENOUGH:
        return best
    known = "\n".join(f"  {candidate.name}: {candidate.summary}" for candidate in candidates)
    raise InvalidData(f"No known data format fits: {_seen(sample)}. Known formats, to be named with --format:\n{known}")


def _seen(sample: Sample) -> str:
    if not sample.head:
        return "the file is empty"
    if b"\0" in sample.head:
        return "it holds bytes that are no text"
    if sample.record is not None:
        return f"its first JSON object has the keys {', '.join(map(str, sample.record)) or '(none)'}"
    return f"it begins with {sample.text[:60]!r}"
