"""Splits a data set into training, validation and test data; adding rows never moves existing rows.

The split of a conversation depends only on the seed and its content (or the value of `group_by`), so it is the same in
every later, larger version of the data.
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
    """Result of a split: rows per split, and everything needed to reproduce it. Shares are the requested ones."""

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
    """Write `train.jsonl`, `valid.jsonl`, `test.jsonl` and `split.json` to the folder `out` atomically.

    Args:
        path: a data file or folder.
        out: output folder; an earlier split in it is replaced, any other content is an error.
        valid: approximate share of validation conversations; every conversation is assigned by its hash.
        test: approximate share of test conversations.
        seed: seed of the hash.
        group_by: key of `meta`; conversations with the same value go to the same split. A conversation that occurs in
            two groups goes to the split of the first one.
        format: format name; default: detected.
        options: encoding, columns and speakers.
        skip_bad: skip bad rows.
        progress: called regularly with the source being read.

    Raises `InvalidData` for unreadable data or an `out` that holds other files, `InvalidParameter` for shares out of
    range, `SaveFailed` when the disk refuses.
    """
    out = Path(out)
    if not (valid >= 0 and test >= 0 and valid + test < 1):
        raise InvalidParameter("valid", f"Shares must be at least 0 and sum to less than 1: {valid=:g}, {test=:g}.")
    source = DataSource(path, format=format, skip_bad=skip_bad, options=options)
    _refuse_other_files(out)
    if out.resolve() in (file.resolve().parent for file in source.files):
        raise InvalidData(f"{out} holds the input data. Choose another output folder.")
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
    """Assigns keys to splits by their hash."""

    def __init__(self, seed: int, valid: float, test: float) -> None:
        self.seed, self.valid, self.test = seed, valid, test

    def side(self, key: str) -> SplitName:
        digest = hashlib.blake2b(f"{self.seed}\n{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        position = int.from_bytes(digest, "big") / 2**64
        if position < self.test:
            return "test"
        return "valid" if position < self.test + self.valid else "train"


def _sides(
    source: DataSource, sorter: _Sorter, group_by: str | None, progress: Callable[[DataSource], None] | None
) -> Iterator[tuple[SplitName, Record]]:
    assigned: dict[int, SplitName] = {}
    for number, (place, item) in enumerate(source.rows()):
        if progress and number % 256 == 0:
            progress(source)
        key = fingerprint.near_duplicate_key(item)
        if group_by is None:
            yield sorter.side(f"{key:x}"), item
        else:
            yield assigned.setdefault(key, sorter.side(_group(item, group_by, place))), item


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
