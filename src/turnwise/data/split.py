"""Splits a data set into training, validation and test data, so that adding rows never moves the others.

The side of a conversation depends on nothing but the seed and what is said in it (or its group's name), so the same
conversation is on the same side in every later, larger version of the data.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, get_args

from turnwise.core.errors import InvalidData, InvalidParameter
from turnwise.core.files import atomic_directory
from turnwise.data import fingerprint
from turnwise.data.jsonl_writer import to_json_line
from turnwise.data.rows import Record
from turnwise.data.sources import DataSource, ReadOptions, RowLocation

SplitName = Literal["train", "valid", "test"]
SPLIT_NAMES: tuple[SplitName, ...] = get_args(SplitName)
SUMMARY = "split.json"


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """What a split made: rows per side, and everything needed to make it again. Shares are what was asked for."""

    train: int
    valid: int
    test: int
    bad_rows: int
    seed: int
    valid_share: float
    test_share: float
    group_by: str | None
    input_sha256: dict[str, str]
    nulls: dict[str, int] = field(default_factory=dict)  # rows in which null replaces NaN or infinity, by their key


def write_split(
    path: str | Path,
    out: str | Path,
    *,
    valid: float = 0.05,
    test: float = 0.05,
    seed: int = 0,
    group_by: str | None = None,
    format: str | None = None,
    options: ReadOptions | None = None,
    skip_bad: bool = False,
    progress: Callable[[DataSource], None] | None = None,
) -> SplitSummary:
    """Write `train.jsonl`, `valid.jsonl`, `test.jsonl` and `split.json` to the folder `out`, all of them or none.

    Args:
        path: a data file or folder.
        out: a folder; an earlier split in it is replaced, and one that holds anything else is refused.
        valid, test: shares of the conversations, near enough: each falls by a throw of its own.
        seed: another seed makes another split.
        group_by: a key of `meta`; conversations with the same value go to the same side. One that occurs in two groups
            goes where it was met first, since a conversation must not be on two sides.
        format: a format's name; unset: recognised.
        options: encoding, columns and speakers.
        skip_bad: leave bad rows out.
        progress: called now and then with the source being read.

    Raises `InvalidData` for unreadable data or an `out` that holds other files, `InvalidParameter` for shares out of
    range, `SaveFailed` when the disk refuses.
    """
    out = Path(out)
    if not (valid >= 0 and test >= 0 and valid + test < 1):
        raise InvalidParameter("valid", f"Shares must be at least 0 and sum to less than 1: {valid=:g}, {test=:g}.")
    source = DataSource(path, format=format, skip_bad=skip_bad, options=options)
    _refuse_other_files(out)
    if out.resolve() in (file.resolve().parent for file in source.files):
        raise InvalidData(f"{out} holds the data that is to be split. Name another folder.")
    counts: dict[SplitName, int] = dict.fromkeys(SPLIT_NAMES, 0)
    nulls: Counter[str] = Counter()
    with atomic_directory(out) as folder:
        with ExitStack() as stack:
            files = {
                side: stack.enter_context((folder / f"{side}.jsonl").open("w", encoding="utf-8", newline="\n"))
                for side in SPLIT_NAMES
            }
            for side, item in _sides(source, _Sorter(seed, valid, test), group_by, progress):
                files[side].write(to_json_line(item, nulls))
                counts[side] += 1
        if not any(counts.values()):
            raise InvalidData(f"{path} holds no usable row; nothing was written.")
        sums = {file.name: _sha256(file) for file in source.files}
        made = SplitSummary(**counts, bad_rows=source.bad_count, seed=seed, valid_share=valid, test_share=test,
                     group_by=group_by, input_sha256=sums, nulls=dict(nulls))  # fmt: skip
        (folder / SUMMARY).write_text(json.dumps(asdict(made), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return made


class _Sorter:
    """Says on which side a key falls."""

    def __init__(self, seed: int, valid: float, test: float) -> None:
        self.seed, self.valid, self.test = seed, valid, test

    def side(self, key: str) -> SplitName:
        digest = hashlib.blake2b(f"{self.seed}\n{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        thrown = int.from_bytes(digest, "big") / 2**64
        if thrown < self.test:
            return "test"
        return "valid" if thrown < self.test + self.valid else "train"


def _sides(
    source: DataSource, sorter: _Sorter, group_by: str | None, progress: Callable[[DataSource], None] | None
) -> Iterator[tuple[SplitName, Record]]:
    met: dict[int, SplitName] = {}
    for number, (place, item) in enumerate(source.rows()):
        if progress and number % 256 == 0:
            progress(source)
        key = fingerprint.near_duplicate_key(item)
        if group_by is None:
            yield sorter.side(f"{key:x}"), item
        else:
            yield met.setdefault(key, sorter.side(_group(item, group_by, place))), item


def _group(item: Record, group_by: str, place: RowLocation) -> str:
    if group_by not in item.meta:
        has = f"it has {', '.join(map(str, item.meta))}" if item.meta else "it has none at all"
        raise InvalidData(f"{place}: there is no '{group_by}' to group by among what is known of this row; {has}.")
    return f"{group_by}={item.meta[group_by]}"


def _refuse_other_files(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InvalidData(f"{out} is a file. Name a folder for the split.")
    ours = {SUMMARY, *(f"{side}.jsonl" for side in SPLIT_NAMES)}
    others = sorted({file.name for file in out.iterdir()} - ours) if out.is_dir() else []
    if others:
        raise InvalidData(f"The folder {out} holds other files ({', '.join(others[:3])}). Name a new folder.")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
