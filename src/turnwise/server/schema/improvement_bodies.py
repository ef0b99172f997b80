"""Bodies of `/v1/improvements`."""

from typing import Literal

from pydantic import BaseModel

from turnwise.core.improvement_reports import ImprovementCycle


class FigureBody(BaseModel):
    """A figure of a new version beside that of the version that served."""

    label: str
    value: float
    base_value: float
    num_dialogues: int


class CycleBody(BaseModel):
    """A cycle of improvement. `outcome` and `reason` are null while it is not complete."""

    number: int
    object: Literal["improvement.cycle"] = "improvement.cycle"
    started: float
    steps: list[str]
    serving: int | None
    version: int | None
    outcome: str | None
    reason: str | None
    answers: int
    new_answers: int
    examples: int
    contributors: int
    dropped: dict[str, int]
    masked: dict[str, int]
    figures: dict[str, FigureBody]
    has_report: bool

    @classmethod
    def of(cls, cycle: ImprovementCycle) -> "CycleBody":
        """Convert a cycle."""
        return cls(
            number=cycle.number, started=cycle.started, steps=list(cycle.steps), serving=cycle.serving,
            version=cycle.version, outcome=cycle.outcome or None, reason=cycle.reason or None,
            answers=cycle.num_answers, new_answers=cycle.num_new, examples=cycle.num_examples,
            contributors=cycle.num_contributors, dropped=dict(cycle.dropped), masked=dict(cycle.masked),
            figures={
                name: FigureBody(
                    label=figure.label, value=figure.value, base_value=figure.base_value,
                    num_dialogues=figure.num_dialogues,
                )
                for name, figure in cycle.figures.items()
            },
            has_report=cycle.has_report,
        )  # fmt: skip


class ModelImprovement(BaseModel):
    """The cycles of a served model, oldest first.

    `new_answers` counts answers with feedback since the last cycle that trained a version; null without a store.
    `error` says why the cycles cannot be read.
    """

    model: str
    object: Literal["model.improvement"] = "model.improvement"
    running: bool
    new_answers: int | None
    cycles: list[CycleBody]
    error: str | None = None


class ImprovementList(BaseModel):
    """The served models with their cycles."""

    object: Literal["list"] = "list"
    data: list[ModelImprovement]
