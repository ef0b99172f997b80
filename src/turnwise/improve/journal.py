"""The journal of a cycle: which steps are complete and what they returned, so that a killed cycle continues.

A step is complete once its result is in the journal, which is written atomically. A step must tolerate that an earlier
attempt was killed at any point: it writes its files under temporary names and renames them.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from turnwise.core.errors import InvalidData
from turnwise.core.files import atomic_write

JOURNAL_FILE = "cycle.json"
Outcome = str
PROMOTED, REFUSED, NOTHING, ABANDONED, ERASED = "promoted", "refused", "nothing to learn", "abandoned", "erased"


class Journal:
    """The journal of one cycle.

    Attributes:
        folder: folder of the cycle.
    """

    def __init__(self, folder: Path, values: dict[str, Any]) -> None:
        self.folder, self._values = folder, values

    @classmethod
    def create(cls, folder: Path, **header: Any) -> "Journal":
        """Start a journal; `header` describes the cycle."""
        folder.mkdir(parents=True, exist_ok=True)
        journal = cls(folder, {**header, "steps": {}})
        journal._save()
        return journal

    @classmethod
    def open(cls, folder: Path) -> "Journal":
        """Open the journal of a cycle. Raises `InvalidData` if it is damaged."""
        try:
            return cls(folder, json.loads((folder / JOURNAL_FILE).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise InvalidData(f"{folder / JOURNAL_FILE} cannot be read: {error}.") from error

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def get(self, key: str) -> Any:
        """A value of the header; None if it is missing."""
        return self._values.get(key)

    def result(self, step: str) -> Any:
        """The result of a complete step; None if it is not complete."""
        return self._values["steps"].get(step)

    @property
    def steps(self) -> list[str]:
        """Names of the complete steps, in order."""
        return list(self._values["steps"])

    @property
    def is_complete(self) -> bool:
        """True if the cycle has an outcome."""
        return "outcome" in self._values

    def run(self, step: str, function: Callable[[], Any]) -> Any:
        """Run a step and store its result (plain JSON), or return the stored one."""
        if step not in self._values["steps"]:
            result = function()
            self._values["steps"][step] = result
            self._save()
        return self._values["steps"][step]

    def complete(
        self, outcome: Outcome, reason: str, *, last_step: Mapping[str, Any] = MappingProxyType({}), **further: Any
    ) -> None:
        """Store the outcome and its reason as a sentence.

        Args:
            outcome: the outcome.
            reason: the sentence.
            last_step: result of the last step by its name. It is stored by the same write, so that a cycle never has
                an outcome and an incomplete step.
            further: values of the header.
        """
        self._values["steps"] |= last_step
        self._values |= {"outcome": outcome, "reason": reason, **further}
        self._save()

    def as_dict(self) -> dict[str, Any]:
        """A copy of all values."""
        return dict(self._values)

    def _save(self) -> None:
        atomic_write(self.folder / JOURNAL_FILE, json.dumps(self._values, ensure_ascii=False, indent=1))
