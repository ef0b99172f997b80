"""The rated answers of a server, as data of trainings."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from turnwise.core.runs import RunObjective

RATED_ANSWERS_FILE = "answers.jsonl"


@dataclass(frozen=True, slots=True)
class RatedAnswers:
    """Reads the store of the server.

    Attributes:
        count: returns the present number of answers with feedback.
        write: writes `RATED_ANSWERS_FILE`, with what an objective learns from, and `CONTRIBUTORS` into a folder. Raises
            `InvalidData` if there is nothing to learn from.
    """

    count: Callable[[], int]
    write: Callable[[Path, RunObjective], None]
