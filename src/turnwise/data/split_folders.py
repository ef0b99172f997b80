"""Folders with splits: files named train, valid or test, as `turnwise data split` and data hubs write them.

Recognized are `train.jsonl`, `validation-00000-of-00002.parquet`, `dev.json`, `train_sft-0.jsonl.gz`, names that end in
a split name (`bikes_train.jsonl`, `bikes.test.csv`), the same files in a subfolder `data`, and subfolders named after a
split (`train/0000.parquet`).
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from turnwise.core.errors import InvalidData

SplitName = Literal["train", "valid", "test"]
SPLIT_NAMES: tuple[SplitName, ...] = get_args(SplitName)
SPLIT_OF_NAME: dict[str, SplitName] = {
    "train": "train", "training": "train", "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid",
    "eval": "valid", "evaluation": "valid", "test": "test", "testing": "test", "holdout": "test", "heldout": "test",
}  # fmt: skip
_ANY_NAME = "|".join(sorted(SPLIT_OF_NAME, key=len, reverse=True))
# At the start of the file name, or at its end before the suffixes and shard numbers.
_SPLIT_FILE = re.compile(rf"(?:({_ANY_NAME})(?![a-z])|[^.]*?[-_.]({_ANY_NAME})(?:[-_]?\d+)*(?:\.|$))", re.IGNORECASE)


def group_split_files(folder: Path, is_data: Callable[[str], bool]) -> dict[SplitName, list[Path]]:
    """Return the files of each split; {} for a file and for a folder with fewer than two splits.

    Args:
        folder: any path.
        is_data: returns True for the name of a data file.

    Raises:
        InvalidData: there are data files besides those of the splits.
    """
    if not folder.is_dir():
        return {}
    files = _list_files(folder, is_data) or _list_files(folder / "data", is_data)
    splits: dict[SplitName, list[Path]] = {}
    unmatched = []
    for file, name in files:
        match = _SPLIT_FILE.match(name)
        if match is None:
            unmatched.append(file)
        else:
            splits.setdefault(SPLIT_OF_NAME[(match[1] or match[2]).lower()], []).append(file)
    if len(splits) < 2:
        return {}
    if unmatched:
        raise InvalidData(
            f"{folder} holds splits ({', '.join(sorted(splits))}) and also {unmatched[0].name}, which belongs to none. "
            "Name a single file, or move that file away."
        )
    return splits


def _list_files(folder: Path, is_data: Callable[[str], bool]) -> list[tuple[Path, str]]:
    """Return the data files of a folder and of its subfolders named after a split, each with the name to match."""
    if not folder.is_dir():
        return []
    files: list[tuple[Path, str]] = []
    for path in sorted(folder.iterdir()):
        if path.is_file() and is_data(path.name.lower()):
            files.append((path, path.name))
        elif path.is_dir() and path.name.lower() in SPLIT_OF_NAME:
            shards = (file for file in sorted(path.iterdir()) if file.is_file() and is_data(file.name.lower()))
            files.extend((file, path.name) for file in shards)
    return files
