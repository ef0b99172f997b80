"""Trainings and evaluations that a server starts: the records, and the port of their manager."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

RunKind = Literal["training", "evaluation"]
RunState = Literal["waiting", "running", "complete", "stopped", "failed"]
RunObjective = Literal["sft", "dpo", "kto"]
RunMethod = Literal["full", "lora"]

MAX_TITLE_CHARS = 80
MAX_LIMIT = 2000  # dialogues of an evaluation


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """What a training is started with.

    Attributes:
        dataset: name of a data set; None: the rated answers of the server.
        base_model: name of a `RunModel`.
        objective: the loss.
        method: the weights to train.
        epochs: passes over the data; None: as many as fit into `minutes`.
        minutes: time budget with the comparison at the end; None: no limit.
        learning_rate, batch_size: None: derived from the data and the size of the model.
        replay_ratio: share of tokens that are the base model's own replies.
        seed: seed of data order and initialization.
        title: for people; empty: the name of the data set.
    """

    dataset: str | None
    base_model: str
    objective: RunObjective = "sft"
    method: RunMethod = "full"
    epochs: float | None = 3.0
    minutes: float | None = None
    learning_rate: float | None = None
    batch_size: int | None = None
    replay_ratio: float = 0.0
    seed: int = 0
    title: str = ""


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """What an evaluation is started with.

    Attributes:
        dataset: name of a data set.
        model: name of a `RunModel`.
        against: name of the model to compare with; None: measure only.
        limit: maximum number of dialogues.
        title: for people; empty: the names of the models.
    """

    dataset: str
    model: str
    against: str | None = None
    limit: int = 100
    title: str = ""


@dataclass(frozen=True, slots=True)
class RunModel:
    """A model that a run can start from, or measure.

    Attributes:
        name: what options name it by: an installed model, or "run:ID" for the model of a run.
        title: for people.
        methods: methods that can train it, the default first.
        base: name of the model that it was trained from; None if that is not known.
    """

    name: str
    title: str
    methods: tuple[RunMethod, ...]
    base: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A training or an evaluation.

    Attributes:
        id: unique; a later run has a greater id.
        kind: what it is.
        title: for people.
        state: "waiting" for its turn, "running", or how it ended. A stopped or failed run can be resumed.
        created: Unix time in seconds when it was asked for.
        started: when its process started last; None: not yet.
        ended: when it ended; None: not yet.
        options: the options that people see, by name.
        reason: why it failed or what it lacks, as a sentence; else empty.
        is_stopping: True if it was asked to stop and has not ended yet.
        result: figures of a complete run by name, such as "valid_before" and "verdict".
        samples: of a complete training, replies before and after it.
        model_folder: folder of the trained model; empty if there is none.
        has_report: True if `RunManager.report` has its report.
    """

    id: str
    kind: RunKind
    title: str
    state: RunState
    created: float
    started: float | None = None
    ended: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    is_stopping: bool = False
    result: Mapping[str, Any] = field(default_factory=dict)
    samples: Sequence[Mapping[str, str]] = ()
    model_folder: str = ""
    has_report: bool = False

    @property
    def is_open(self) -> bool:
        """True if it waits or runs."""
        return self.state in ("waiting", "running")


@dataclass(frozen=True, slots=True)
class RunProgress:
    """Events of a run from a position on.

    Attributes:
        events: the events, each with its name in "event" and Unix time in "time".
        position: where the next call goes on.
    """

    events: Sequence[Mapping[str, Any]]
    position: int


class RunManager(Protocol):
    """Starts and watches runs. Runs go on without the server that started them."""

    @property
    def can_serve(self) -> bool:
        """True if `serve` can load the model of a run."""

    def list(self) -> Sequence[Run]:
        """All runs, the newest first."""

    def get(self, id: str) -> Run:
        """A run. Raises `NotFound`."""

    def models(self) -> Sequence[RunModel]:
        """Models that options can name."""

    def dataset_names(self) -> Sequence[str]:
        """Data sets that options can name, the newest first."""

    def num_rated_answers(self) -> int | None:
        """Answers with feedback; None if the server stores none."""

    def plan_training(self, options: TrainingOptions) -> Mapping[str, Any]:
        """Figures of a training that would be started with these options, by name. Takes seconds to minutes.

        Raises:
            UserError: the options, the model or the data cannot be used.
            Unavailable: another plan is being made, or it took too long.
        """

    def start_training(self, options: TrainingOptions) -> Run:
        """Start a training, or let it wait for its turn. Raises as `plan_training` does, as far as it checks."""

    def start_evaluation(self, options: EvaluationOptions) -> Run:
        """Start an evaluation, or let it wait for its turn. Raises `UserError`."""

    def stop(self, id: str) -> Run:
        """Let a run end with a checkpoint. Raises `NotFound`, and `RunConflict` if it has ended."""

    def resume(self, id: str) -> Run:
        """Let a stopped or failed run go on from its last checkpoint. Raises `NotFound` and `RunConflict`."""

    def delete(self, id: str) -> None:
        """Delete a run with its model. Raises `NotFound`, and `RunConflict` while it is open."""

    def progress(self, id: str, after: int) -> RunProgress:
        """Events from a position on, 0 at the start; a bounded number of them. Raises `NotFound`."""

    def end_position(self, id: str) -> int:
        """The position after the last event; −1 if the run is not open. Raises `NotFound`."""

    def report(self, id: str) -> str:
        """The report of a run, a self-contained HTML page. Raises `NotFound`."""

    def serve(self, id: str) -> str:
        """Load the model of a run into this server until it stops. Returns its served name.

        Raises:
            NotFound: there is no such run, or it has no model.
            TurnwiseError: the model cannot be loaded.
        """
