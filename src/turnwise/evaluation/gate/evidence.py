"""What the gate reads: the figures of one or more evaluations of a candidate against the serving model."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from turnwise.core.errors import InvalidData
from turnwise.core.json_file import JsonFileModel, read_json
from turnwise.evaluation.scorecard import Scorecard

SCORECARD_FILE = "scorecard.json"  # of a report folder
HELD_OUT, RETENTION = "held_out", "retention"


class IntervalFigures(JsonFileModel):
    """A confidence interval; None where it could not be computed."""

    low: float | None
    high: float | None


class MetricFigures(JsonFileModel):
    """A row of a scorecard. Attributes as in `ScorecardRow`; None where a value is undefined."""

    name: str
    label: str
    better: str
    value_format: str
    num_dialogues: int
    value: float | None = None
    base_value: float | None = None
    difference: float | None = None
    difference_interval: IntervalFigures | None = None
    p_value: float | None = None
    improvement_p_value: float | None = None

    @property
    def loss(self) -> float | None:
        """The difference in the worse direction, positive if the candidate is worse."""
        return None if self.difference is None else self._in_worse_direction(self.difference)

    @property
    def loss_bounds(self) -> tuple[float, float] | None:
        """Smallest and largest loss of the confidence interval."""
        interval = self.difference_interval
        if interval is None or interval.low is None or interval.high is None:
            return None
        low, high = sorted(map(self._in_worse_direction, (interval.low, interval.high)))
        return low, high

    def _in_worse_direction(self, difference: float) -> float:
        return difference if self.better == "lower" else -difference


class FlipFigures(JsonFileModel):
    """A golden case that only one of the two systems passes; attributes as in `Flip`."""

    case_id: str
    is_safety: bool
    was_correct: bool
    is_confirmed: bool | None = None

    @property
    def is_loss(self) -> bool:
        """True for a negative flip that further answers do not contradict."""
        return self.was_correct and self.is_confirmed is not False


class EvaluationFigures(JsonFileModel):
    """A scorecard."""

    rows: tuple[MetricFigures, ...]
    flips: tuple[FlipFigures, ...] = ()

    def row(self, metric: str) -> MetricFigures | None:
        """The row of a metric that was measured for both systems; None if there is none."""
        return next((row for row in self.rows if row.name == metric and row.base_value is not None), None)


@dataclass(frozen=True, slots=True)
class GateEvidence:
    """The evaluations of a candidate against the serving model.

    Attributes:
        evaluations: figures by name of the evaluation: "held_out" dialogues, and "retention" data that shows what the
            candidate forgot.
        alpha: significance level of an improvement.
    """

    evaluations: Mapping[str, EvaluationFigures]
    alpha: float

    def row(self, evaluation: str, metric: str) -> MetricFigures | None:
        """The row of a metric; None if it was not measured for both systems."""
        figures = self.evaluations.get(evaluation)
        return None if figures is None else figures.row(metric)

    def flips(self, evaluation: str) -> tuple[FlipFigures, ...]:
        """The flips of an evaluation."""
        figures = self.evaluations.get(evaluation)
        return () if figures is None else figures.flips


def figures_of(scorecard: Scorecard) -> EvaluationFigures:
    """The figures of a scorecard, the same as in its report."""
    return _parse(json.loads(json.dumps(scorecard.as_dict(), default=str)), "the scorecard")


def read_figures(path: Path) -> EvaluationFigures:
    """The figures of a report.

    Args:
        path: the folder of a report (`turnwise evaluate --out`), or its `scorecard.json`.

    Raises:
        UserError: the file cannot be read.
        InvalidData: it is not the scorecard of a comparison of two chat models.
    """
    file = path / SCORECARD_FILE if path.is_dir() else path
    figures = _parse(read_json(file), str(file))
    if all(row.base_value is None for row in figures.rows):
        raise InvalidData(f"{file} compares nothing: evaluate the candidate with --against the serving model.")
    return figures


def _parse(values: Any, name: str) -> EvaluationFigures:
    try:
        return EvaluationFigures.model_validate_json(json.dumps(values))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        path = ".".join(map(str, problem["loc"]))
        raise InvalidData(f"{name} is not a scorecard: '{path}': {problem['msg']}.") from error
