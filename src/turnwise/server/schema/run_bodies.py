"""Bodies of `/v1/runs`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StrictInt, StrictStr

from turnwise.core.runs import (
    MAX_LIMIT,
    MAX_TITLE_CHARS,
    EvaluationOptions,
    Run,
    RunKind,
    RunMethod,
    RunModel,
    RunObjective,
    RunProgress,
    RunState,
    TrainingOptions,
)
from turnwise.server.schema.request_field import RequestBody

Name = Annotated[StrictStr, Field(min_length=1, max_length=300)]
Title = Annotated[StrictStr, Field(max_length=MAX_TITLE_CHARS, description="Title for people. Default: the data set.")]
DatasetName = Annotated[Name, Field(description="Name of a data set.")]


class TrainingRequest(RequestBody):
    """A training. What is left out is derived from the data and the size of the model."""

    dataset: Annotated[
        Name | None, Field(description="Name of a data set. Without it: the rated answers of this server.")
    ] = None
    base_model: Annotated[Name, Field(description="Model to start from, of `/v1/runs`: `models`.")]
    objective: Annotated[
        RunObjective, Field(description="`sft`: replies, `dpo`: pairs of replies, `kto`: rated replies.")
    ] = "sft"
    method: Annotated[RunMethod, Field(description="`full`: all weights, `lora`: a small adapter.")] = "full"
    epochs: Annotated[float | None, Field(gt=0, le=1000, description="Passes over the data.")] = None
    minutes: Annotated[
        float | None,
        Field(ge=1, le=10_080, description="Time budget in minutes, instead of `epochs`. Default: 3 passes."),
    ] = None
    learning_rate: Annotated[float | None, Field(gt=0, lt=1, description="Peak learning rate.")] = None
    batch_size: Annotated[StrictInt | None, Field(ge=1, le=1024, description="Sequences per step.")] = None
    replay_ratio: Annotated[
        float, Field(ge=0, le=0.9, description="Share of tokens that are the base model's own replies.")
    ] = 0.0
    seed: Annotated[StrictInt, Field(ge=0, lt=2**31)] = 0
    title: Title = ""

    def options(self) -> TrainingOptions:
        """Convert to the options of the port."""
        epochs = 3.0 if self.epochs is None and self.minutes is None else self.epochs
        return TrainingOptions(**{**self.model_dump(), "epochs": epochs})


class EvaluationRequest(RequestBody):
    """An evaluation."""

    dataset: DatasetName
    model: Annotated[Name, Field(description="Model to measure, of `/v1/runs`: `models`.")]
    against: Annotated[Name | None, Field(description="Model to compare with.")] = None
    limit: Annotated[StrictInt, Field(ge=1, le=MAX_LIMIT, description="Maximum number of dialogues.")] = 100
    title: Title = ""

    def options(self) -> EvaluationOptions:
        """Convert to the options of the port."""
        return EvaluationOptions(**self.model_dump())


class RunRequest(RequestBody):
    """A training or an evaluation to start: one of both."""

    training: TrainingRequest | None = None
    evaluation: EvaluationRequest | None = None


class RunBody(BaseModel):
    """A training or an evaluation.

    `state` is `waiting` until earlier runs have ended. `result` has the losses and the verdict of a complete run,
    `samples` replies before and after a training.
    """

    id: str
    object: Literal["run"] = "run"
    kind: RunKind
    title: str
    state: RunState
    stopping: bool
    created: float
    started: float | None
    ended: float | None
    options: dict[str, Any]
    reason: str | None
    result: dict[str, Any]
    samples: list[dict[str, str]]
    model_folder: str | None
    has_report: bool

    @classmethod
    def of(cls, run: Run) -> "RunBody":
        """Convert a run."""
        return cls(
            id=run.id, kind=run.kind, title=run.title, state=run.state, stopping=run.is_stopping, created=run.created,
            started=run.started, ended=run.ended, options=dict(run.options), reason=run.reason or None,
            result=dict(run.result), samples=[dict(sample) for sample in run.samples],
            model_folder=run.model_folder or None, has_report=run.has_report,
        )  # fmt: skip


class RunModelBody(BaseModel):
    """A model that a run can start from, or measure. `base` is the model that it was trained from."""

    name: str
    title: str
    methods: list[RunMethod]
    base: str | None

    @classmethod
    def of(cls, model: RunModel) -> "RunModelBody":
        """Convert a model."""
        return cls(name=model.name, title=model.title, methods=list(model.methods), base=model.base)


class RunList(BaseModel):
    """The runs, the newest first, and what new ones can name.

    `datasets` are the names of the data sets. `rated_answers` is null if the server stores none. `can_serve` is true if
    the server can load the model of a run.
    """

    object: Literal["list"] = "list"
    data: list[RunBody]
    models: list[RunModelBody]
    datasets: list[str]
    rated_answers: int | None
    can_serve: bool


class RunProgressBody(BaseModel):
    """Events of a run in the order in which they happened. `position` is the `after` of the next request."""

    object: Literal["run.progress"] = "run.progress"
    run: RunBody
    data: list[dict[str, Any]]
    position: int

    @classmethod
    def with_run(cls, run: Run, progress: RunProgress) -> "RunProgressBody":
        """Convert the progress of a run."""
        return cls(run=RunBody.of(run), data=[dict(event) for event in progress.events], position=progress.position)


class RunPlan(BaseModel):
    """What a training would do: counts, and time and memory by a measurement of this machine."""

    object: Literal["run.plan"] = "run.plan"
    figures: dict[str, Any]

    @classmethod
    def of(cls, figures: Mapping[str, Any]) -> "RunPlan":
        """Convert the figures."""
        return cls(figures=dict(figures))


class ServedRun(BaseModel):
    """The name by which this server answers with the model of a run, until it stops."""

    id: str
    object: Literal["run.served"] = "run.served"
    model: str


class DeletedRun(BaseModel):
    """Confirmation of a deletion."""

    id: str
    object: Literal["run.deleted"] = "run.deleted"
    deleted: Literal[True] = True
