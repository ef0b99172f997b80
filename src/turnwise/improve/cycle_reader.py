"""Reads the journals of cycles for pages and programs (implements `core.improvement_reports.ImprovementReader`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from turnwise.core.collected_answers import CollectedAnswerReader
from turnwise.core.directory_lock import is_locked
from turnwise.core.errors import NotFound
from turnwise.core.improvement_reports import ComparedFigure, ImprovementCycle
from turnwise.improve.cycle_folder import REPORT, CycleFolders, last_training
from turnwise.improve.journal import Journal

REPORT_FILE = "report.html"  # `evaluation/report/`


class CycleReader:
    """The cycles below one folder."""

    def __init__(self, answers: CollectedAnswerReader | None, root: Path | None = None) -> None:
        """Open the cycles.

        Args:
            answers: collected answers; None: there is no store.
            root: folder of all cycles; None: that of this TURNWISE_HOME.
        """
        self._answers, self._root = answers, root

    def cycles(self, model: str) -> Sequence[ImprovementCycle]:
        """Cycles of a served model, oldest first. Raises `InvalidData` for a damaged journal."""
        return [_read_cycle(model, journal) for journal in self._journals(model)]

    def is_running(self, model: str) -> bool:
        """True if a process runs a cycle of the model now."""
        return is_locked(CycleFolders(model, self._root).root)

    def num_new_answers(self, model: str) -> int | None:
        """Answers with feedback since the last training."""
        if self._answers is None:
            return None
        journals = self._journals(model)
        base = journals[-1].get("first") if journals else None
        return self._answers.count(model, since=last_training(journals, base))

    def report(self, model: str, number: int) -> str:
        """The report of a cycle as HTML. Raises `NotFound`."""
        for journal in self._journals(model):
            if journal["number"] == number and (path := _report_path(journal)).is_file():
                return path.read_text(encoding="utf-8")
        raise NotFound(f"There is no report of cycle {number} of {model[:100]}.")

    def _journals(self, model: str) -> list[Journal]:
        return list(CycleFolders(model, self._root).journals())


def _report_path(journal: Journal) -> Path:
    return journal.folder / REPORT / REPORT_FILE


def _read_cycle(model: str, journal: Journal) -> ImprovementCycle:
    selection: Mapping[str, Any] = journal.result("select") or {}
    figures: Mapping[str, Any] = (journal.result("compare") or {}).get("figures", {})
    return ImprovementCycle(
        model=model,
        number=journal["number"],
        started=journal["started"],
        steps=tuple(journal.steps),
        serving=journal.get("serving"),
        version=journal.get("version"),
        outcome=journal.get("outcome") or "",
        reason=journal.get("reason") or "",
        num_answers=selection.get("num_answers", 0),
        num_new=selection.get("num_new", 0),
        num_examples=selection.get("num_examples", 0),
        num_contributors=selection.get("num_contributors", 0),
        dropped=selection.get("dropped", {}),
        masked=selection.get("masked", {}),
        figures={
            name: ComparedFigure(row["label"], row["value"], row["base_value"], row["num_dialogues"])
            for name, row in figures.items()
        },
        has_report=_report_path(journal).is_file(),
    )
