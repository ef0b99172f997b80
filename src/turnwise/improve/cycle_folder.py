"""Folders of the cycles of one model: `TURNWISE_HOME/improve/MODEL/cycles/0001` and so on."""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from turnwise.core.folder_names import folder_name
from turnwise.core.settings import Settings
from turnwise.improve.journal import JOURNAL_FILE, PROMOTED, REFUSED, Journal, Outcome

EXAMPLES_FILE, REPORT = "examples.jsonl", "report"


def improve_folder() -> Path:
    """Folder of everything that `turnwise improve` writes."""
    return Settings.from_environment().home / "improve"


def delete_models(journal: Journal) -> None:
    """Delete the models and training data of a complete cycle; the version has copies of its own."""
    for path in journal.folder.iterdir():
        if path.is_dir() and path.name != REPORT:
            shutil.rmtree(path, ignore_errors=True)


def delete_cycle_files(journal: Journal, outcome: Outcome, reason: str) -> None:
    """Delete all files of a cycle but the journal; the examples last, because they say whose data the cycle has.

    Args:
        journal: the journal.
        outcome: its outcome if it was not complete.
        reason: the sentence for this outcome.

    Raises:
        OSError: a file could not be deleted.
    """
    entries = sorted(journal.folder.iterdir(), key=lambda path: path.name == EXAMPLES_FILE)
    for path in entries:
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != JOURNAL_FILE:
            path.unlink()
    if not journal.is_complete:
        journal.complete(outcome, reason)


def last_training(journals: Iterable[Journal], base: int | None) -> float:
    """Start of the last cycle that trained a version, as Unix time in seconds; feedback since then is new.

    Cycles with too little feedback do not count, so that it adds up, nor do cycles whose examples were erased, nor
    cycles that trained from other weights than the present ones.

    Args:
        journals: journals of a model.
        base: number of the version that the next cycle trains from; None: it is not registered yet.
    """
    trained = (journal for journal in journals if journal.get("outcome") in (PROMOTED, REFUSED))
    from_base = (journal for journal in trained if journal.get("first") in (None, base))
    return max((j["started"] for j in from_base if (j.folder / EXAMPLES_FILE).is_file()), default=0.0)


def num_refused_since_promotion(journals: Iterable[Journal]) -> int:
    """Cycles that were compared on the held-out answers since the last promotion; the journals are oldest first."""
    count = 0
    for journal in journals:
        if journal.result("compare") is not None:
            count = 0 if journal.get("outcome") == PROMOTED else count + 1
    return count


class CycleFolders:
    """The cycles of one model.

    Attributes:
        root: folder of the model.
    """

    def __init__(self, model: str, root: Path | None = None) -> None:
        """Open the folder of a model (`core/folder_names.py`); `root` replaces `improve_folder()`."""
        self.root = (improve_folder() if root is None else root) / folder_name(model)

    @classmethod
    def all(cls) -> "list[CycleFolders]":
        """Those of all models, also of models that have no versions any more."""
        return [cls._at(path.parent) for path in sorted(improve_folder().glob("*/cycles"))]

    @classmethod
    def _at(cls, root: Path) -> "CycleFolders":
        folders = cls.__new__(cls)
        folders.root = root
        return folders

    @property
    def replay(self) -> Path:
        """Folder of replies of the first version."""
        return self.root / "replay"

    def journals(self) -> Iterator[Journal]:
        """Journals of all cycles, oldest first."""
        paths = self.root.glob(f"cycles/*/{JOURNAL_FILE}")
        for path in sorted(paths, key=lambda path: (len(path.parent.name), path)):  # 10000 follows 9999
            yield Journal.open(path.parent)

    def last(self) -> Journal | None:
        """Journal of the last cycle."""
        journals = list(self.journals())
        return journals[-1] if journals else None

    def create_root(self) -> None:
        """Create the folder, readable for this user only: training data are personal. Raises `OSError`."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def create(self, **header: object) -> Journal:
        """Start the next cycle."""
        last = self.last()
        number = 1 if last is None else last["number"] + 1
        return Journal.create(self.root / "cycles" / f"{number:04}", number=number, **header)
