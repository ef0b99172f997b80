"""Folders of the cycles of one model: `TURNWISE_HOME/improve/MODEL/cycles/0001` and so on."""

import re
from collections.abc import Iterator
from pathlib import Path

from turnwise.core.settings import Settings
from turnwise.improve.journal import JOURNAL_FILE, Journal

EXAMPLES_FILE, REPORT_FOLDER = "examples.jsonl", "report"


def improve_folder() -> Path:
    """Folder of everything that `turnwise improve` writes."""
    return Settings.from_environment().home / "improve"


class CycleFolders:
    """The cycles of one model.

    Attributes:
        root: folder of the model.
    """

    def __init__(self, model: str, root: Path | None = None) -> None:
        """Open the folder of a model; `root` replaces `improve_folder()`."""
        name = re.sub(r"[^\w.-]", "_", model)
        self.root = (improve_folder() if root is None else root) / name

    @property
    def replay(self) -> Path:
        """Folder of replies of the first version."""
        return self.root / "replay"

    def journals(self) -> Iterator[Journal]:
        """Journals of all cycles, oldest first."""
        for path in sorted(self.root.glob(f"cycles/*/{JOURNAL_FILE}")):
            yield Journal.open(path.parent)

    def last(self) -> Journal | None:
        """Journal of the last cycle."""
        journals = list(self.journals())
        return journals[-1] if journals else None

    def create(self, **header: object) -> Journal:
        """Start the next cycle."""
        last = self.last()
        number = 1 if last is None else last["number"] + 1
        return Journal.create(self.root / "cycles" / f"{number:04}", number=number, **header)
