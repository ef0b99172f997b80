"""Finds the data files of a path: a single file, all data files of a folder, or the files of one split."""

from collections.abc import Sequence
from pathlib import Path

from turnwise.core.errors import InvalidData
from turnwise.data.compression import strip_compression_suffix
from turnwise.data.dataset_info import DATASET_INFO_NAME
from turnwise.data.split_folders import SplitName, group_split_files

CONLL_SUFFIXES = (".conll", ".conllu", ".iob", ".bio", ".bioes", ".ner")
DATA_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".txt", *CONLL_SUFFIXES)
HELD_OUT_SPLITS: tuple[SplitName, ...] = ("test", "valid")  # in order of preference
NOT_DATA = ("split.json", "readme.txt", "license.txt", "state.json", DATASET_INFO_NAME)


def list_data_files(path: Path) -> list[Path]:
    """Return `path` if it is a file, or the data files of the folder in name order; subfolders are ignored.

    Raises `InvalidData` if `path` does not exist or is a folder without data files.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InvalidData(f"There is no file or folder {path}.")
    files = [file for file in sorted(path.iterdir()) if file.is_file() and _is_data(file.name.lower())]
    if not files:
        raise InvalidData(f"The folder {path} holds no data files (names that end in {', '.join(DATA_SUFFIXES)}).")
    return files


def find_split_files(path: Path) -> dict[SplitName, list[Path]]:
    """Return the files of each split of a folder; {} without splits. Raises `InvalidData` if they are ambiguous."""
    return group_split_files(path, _is_data)


def list_split_files(path: Path, split: SplitName) -> list[Path]:
    """Return the files of one split of a folder. Raises `InvalidData` if the folder does not have this split."""
    files = find_split_files(path)
    if split not in files:
        existing = f"has no split '{split}', only {', '.join(sorted(files))}" if files else "has no splits"
        raise InvalidData(f"{path} {existing}. Name a file or another folder.")
    return files[split]


def held_out_split(path: Path, splits: Sequence[SplitName] = HELD_OUT_SPLITS) -> SplitName | None:
    """Return the first of these splits that a folder has, by default test, else valid; None without splits."""
    files = find_split_files(path)
    return next((split for split in splits if split in files), None)


def _is_data(name: str) -> bool:
    """Return True if a lower-case file name is one of a data file."""
    name = strip_compression_suffix(name)
    return name.endswith(DATA_SUFFIXES) and name not in NOT_DATA and not name.startswith(".")
