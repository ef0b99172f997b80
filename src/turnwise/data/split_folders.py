"""Folders with splits: files named train, valid or test, as `turnwise data split` and data hubs write them.

Recognized are `train.jsonl`, `validation-00000-of-00002.parquet`, `dev.json`, `train_sft-0.jsonl.gz`, names that end so
(`bikes_train.jsonl`, `bikes.test.csv`), the same names in a folder `data`, and folders of the names themselves
(`train/0000.parquet`).
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from turnwise.core.errors import InvalidData

SplitName = Literal["train", "valid", "test"]
NAMES: dict[str, SplitName] = {
    "train": "train", "training": "train", "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid",
    "eval": "valid", "evaluation": "valid", "test": "test", "testing": "test", "holdout": "test", "heldout": "test",
}  # fmt: skip
_ANY = "|".join(sorted(NAMES, key=len, reverse=True))
_NAME = re.compile(rf"(?:({_ANY})(?![a-z])|[^.]*?[-_.]({_ANY})(?:[-_]?\d+)*(?:\.|$))", re.IGNORECASE)


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
    files = _files(folder, is_data) or _files(folder / "data", is_data)
    splits: dict[SplitName, list[Path]] = {}
    others = []
    for file, name in files:
        match = _NAME.match(name)
        if match is None:
            others.append(file)
        else:
            splits.setdefault(NAMES[(match[1] or match[2]).lower()], []).append(file)
    if len(splits) < 2:
        return {}
    if others:
        raise InvalidData(
            f"{folder} holds splits ({', '.join(sorted(splits))}) and also {others[0].name}, which belongs to none. "
            "Name the files themselves, or move it away."
        )
    return splits


def _files(folder: Path, is_data: Callable[[str], bool]) -> list[tuple[Path, str]]:
    """Return the data files of a folder and of its subfolders named after a split, each with the name to match."""
    if not folder.is_dir():
        return []
    found = []
    for path in sorted(folder.iterdir()):
        if path.is_file() and is_data(path.name.lower()):
            found.append((path, path.name))
        elif path.is_dir() and path.name.lower() in NAMES:
            files = (file for file in sorted(path.iterdir()) if file.is_file() and is_data(file.name.lower()))
            found.extend((file, path.name) for file in files)
    return found
