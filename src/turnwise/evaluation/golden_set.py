"""The golden set: conversations whose answers are checked for required and forbidden content."""

from functools import cache
from importlib import resources
from pathlib import Path

from turnwise.core.errors import InvalidData
from turnwise.evaluation.golden_case import GoldenCase
from turnwise.evaluation.golden_file import SUFFIXES, GoldenFile


def load_golden_cases(path: str | Path | None = None) -> tuple[GoldenCase, ...]:
    """Load the cases of a YAML file, or of all YAML files in a folder.

    Args:
        path: the file or folder. Default: the cases that come with the package.

    Raises:
        InvalidData: a file is invalid or missing, or two cases have the same id.
    """
    return _bundled_cases() if path is None else _load(Path(path))


@cache
def _bundled_cases() -> tuple[GoldenCase, ...]:
    with resources.as_file(resources.files("turnwise.evaluation").joinpath("golden")) as folder:
        return _load(folder)


def _load(path: Path) -> tuple[GoldenCase, ...]:
    files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES) if path.is_dir() else [path]
    if not files:
        raise InvalidData(f"There are no golden cases in {path}: the folder has no file that ends with {SUFFIXES[0]}.")
    cases: dict[str, tuple[GoldenCase, Path]] = {}
    for file in files:
        for case in GoldenFile(file).cases():
            if case.id in cases:
                first = cases[case.id][1].name
                raise InvalidData(f"{file}, case '{case.id}': {first} already has a case with this id.")
            cases[case.id] = case, file
    return tuple(case for case, _ in cases.values())
