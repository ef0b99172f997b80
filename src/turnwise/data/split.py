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

from turnwise.core.errors import InvalidData, InvalidParameter
from turnwise.core.files import atomic_directory
from turnwise.data import fingerprint
from turnwise.data.jsonl_writer import to_json_line
from turnwise.data.read_options import ReadOptions
from turnwise.data.rows import Record
from turnwise.data.sources import DataSource, RowLocation
from turnwise.data.split_folders import SPLIT_NAMES, SplitName

SUMMARY_NAME = "split.json"


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
    skip_bad_rows: bool = False,
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
        skip_bad_rows: skip bad rows.
        progress: called regularly with the source being read.

    Raises `InvalidData` for unreadable data or an `out` that holds other files, `InvalidParameter` for shares out of
    range, `SaveFailed` if writing fails.
    """
    out = Path(out)
    if not (valid >= 0 and test >= 0 and valid + test < 1):
        raise InvalidParameter("valid", f"Shares must be at least 0 and sum to less than 1: {valid=:g}, {test=:g}.")
    source = DataSource(path, format=format, skip_bad_rows=skip_bad_rows, options=options)
    _refuse_other_files(out)
    if out.resolve() in (file.resolve().parent for file in source.files):
        raise InvalidData(f"{out} holds the input data. Choose another output folder.")
    counts: dict[SplitName, int] = dict.fromkeys(SPLIT_NAMES, 0)
    nulls: Counter[str] = Counter()
    with atomic_directory(out) as folder:
        with ExitStack() as stack:
            files = {
                split: stack.enter_context((folder / f"{split}.jsonl").open("w", encoding="utf-8", newline="\n"))
                for split in SPLIT_NAMES
            }
            for split, item in _assign_splits(source, _HashSplitter(seed, valid, test), group_by, progress):
                files[split].write(to_json_line(item, nulls))
                counts[split] += 1
        if not any(counts.values()):
            raise InvalidData(f"{path} holds no usable row; nothing was written.")
        summary = SplitSummary(
            **counts,
            bad_rows=source.bad_row_count,
            seed=seed,
            valid_share=valid,
            test_share=test,
            group_by=group_by,
            input_sha256={file.name: _sha256(file) for file in source.files},
            nulls=dict(nulls),
        )
        text = json.dumps(asdict(summary), indent=2, ensure_ascii=False) + "\n"
        (folder / SUMMARY_NAME).write_text(text, encoding="utf-8")
    return summary


class _HashSplitter:
    """Assigns keys to splits by their hash."""

    def __init__(self, seed: int, valid: float, test: float) -> None:
        self.seed, self.valid, self.test = seed, valid, test

    def split_of(self, key: str) -> SplitName:
        digest = hashlib.blake2b(f"{self.seed}\n{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        position = int.from_bytes(digest, "big") / 2**64
        if position < self.test:
            return "test"
        return "valid" if position < self.test + self.valid else "train"


def _assign_splits(
    source: DataSource, splitter: _HashSplitter, group_by: str | None, progress: Callable[[DataSource], None] | None
) -> Iterator[tuple[SplitName, Record]]:
    split_of_key: dict[int, SplitName] = {}  # a row that occurs in two groups stays in the split of the first
    for number, (location, item) in enumerate(source.rows()):
        if progress and number % 256 == 0:
            progress(source)
        key = fingerprint.near_duplicate_key(item)
        if group_by is None:
            yield splitter.split_of(f"{key:x}"), item
        else:
            yield split_of_key.setdefault(key, splitter.split_of(_group(item, group_by, location))), item


def _group(item: Record, group_by: str, location: RowLocation) -> str:
    if group_by not in item.meta:
        keys = f"Its metadata has {', '.join(map(str, item.meta))}" if item.meta else "It has no metadata"
        raise InvalidData(f"{location}: this row has no metadata key '{group_by}' to group by. {keys}.")
    return f"{group_by}={item.meta[group_by]}"


def _refuse_other_files(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InvalidData(f"{out} is a file. Name a folder for the split.")
    replaceable = {SUMMARY_NAME, *(f"{split}.jsonl" for split in SPLIT_NAMES)}
    others = sorted({file.name for file in out.iterdir()} - replaceable) if out.is_dir() else []
    if others:
        raise InvalidData(f"The folder {out} holds other files ({', '.join(others[:3])}). Name a new folder.")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
