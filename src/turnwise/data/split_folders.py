"""Folders whose files are named after a side (train, valid, test), as `turnwise data split` and data hubs write them.

Recognised are `train.jsonl`, `validation-00000-of-00002.parquet`, `dev.json`, `train_sft-0.jsonl.gz`, names that end so
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
    """The files of each side; {} for a file, and for a folder whose files are not named after at least two sides.

    Args:
        folder: any path.
        is_data: whether a file's name is that of a data file.

    Raises:
        InvalidData: beside files of sides there are others, so nobody can tell which side they belong to.
    """
    if not folder.is_dir():
        return {}
    files = _files(folder, is_data) or _files(folder / "data", is_data)
    found: dict[SplitName, list[Path]] = {}
    others = []
    for file, name in files:
        match = _NAME.match(name)
        if match is None:
            others.append(file)
        else:
            found.setdefault(NAMES[(match[1] or match[2]).lower()], []).append(file)
    if len(found) < 2:
        return {}
    if others:
        raise InvalidData(
            f"{folder} holds sides ({', '.join(sorted(found))}) and also {others[0].name}, which belongs to none. Name "
            "the files themselves, or move it away."
        )
    return found


def _files(folder: Path, is_data: Callable[[str], bool]) -> list[tuple[Path, str]]:
    """The data files of a folder and of its folders that are named after a side, each with the name that counts."""
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
