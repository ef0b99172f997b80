"""What is shown of the cycles of improvement: the records, and the port of their reader."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ComparedFigure:
    """A figure of the comparison of a new version with the one that served.

    Attributes:
        label: name for people.
        value: value of the new version.
        base_value: value of the version that served.
        num_dialogues: dialogues that it was measured on.
    """

    label: str
    value: float
    base_value: float
    num_dialogues: int


@dataclass(frozen=True, slots=True)
class ImprovementCycle:
    """One cycle of `turnwise improve`.

    Attributes:
        model: served model name.
        number: 1, 2, … for each model.
        started: Unix time in seconds.
        steps: names of the complete steps, in order.
        serving: number of the version that served at the start.
        version: number of the version that it added; None: it has added none.
        outcome: such as "promoted" or "refused"; empty while it is not complete.
        reason: why, as a sentence; empty while it is not complete.
        num_answers: answers with feedback, before the checks.
        num_new: of these, answers with feedback since the last cycle.
        num_examples: examples that passed the checks.
        num_contributors: people behind the examples.
        dropped: number of dropped entries by reason.
        masked: number of masked personal data by kind.
        figures: figures by name of the metric.
        has_report: True if `ImprovementReader.report` has its report.
    """

    model: str
    number: int
    started: float
    steps: tuple[str, ...] = ()
    serving: int | None = None
    version: int | None = None
    outcome: str = ""
    reason: str = ""
    num_answers: int = 0
    num_new: int = 0
    num_examples: int = 0
    num_contributors: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    masked: Mapping[str, int] = field(default_factory=dict)
    figures: Mapping[str, ComparedFigure] = field(default_factory=dict)
    has_report: bool = False


class ImprovementReader(Protocol):
    """Reads what `turnwise improve` has done, also while another process runs a cycle."""

    def cycles(self, model: str) -> Sequence[ImprovementCycle]:
        """Cycles of a served model, oldest first; empty for an unknown model. Raises `InvalidData`."""

    def is_running(self, model: str) -> bool:
        """True if a process runs a cycle of the model now."""

    def num_new_answers(self, model: str) -> int | None:
        """Answers with feedback since the last cycle that trained a version; None without a store of conversations.

        Raises `Unavailable`.
        """

    def report(self, model: str, number: int) -> str:
        """The report of a cycle, a self-contained HTML page.

        Raises:
            NotFound: there is no such cycle, or it has no report.
        """
