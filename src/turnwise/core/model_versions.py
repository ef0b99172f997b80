"""Versions of served models: the records, the states, and the port of the registry.

A version is `candidate` after its training. A person, or the gate of `turnwise improve`, promotes it:

    candidate → shadow → canary → serving → retired

Steps may be left out. A retired version can serve again, which is a roll-back. A model has at most one version of each
of the states shadow and canary, and exactly one that serves; none if the weights of all were deleted.
`core.version_rules` has the rules as functions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

VersionState = Literal["candidate", "shadow", "canary", "serving", "retired"]
Actor = Literal["person", "gate", "canary_watch", "update"]

TRANSITIONS: Mapping[VersionState, tuple[VersionState, ...]] = {
    "candidate": ("shadow", "canary", "serving", "retired"),
    "shadow": ("candidate", "canary", "serving", "retired"),
    "canary": ("candidate", "canary", "serving", "retired"),  # a canary can get another share
    "serving": ("retired",),
    "retired": ("candidate", "serving"),
}
# A person may do every transition. The gate needs a scorecard that passed; the watch of a canary can only end it; an
# update of the bundled or pulled model lets its new weights serve.
ALLOWED_STATES: Mapping[Actor, tuple[VersionState, ...]] = {
    "person": ("candidate", "shadow", "canary", "serving", "retired"),
    "gate": ("shadow", "canary", "serving", "retired"),
    "canary_watch": ("retired",),
    "update": ("serving",),
}


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A trained model that is added to the registry.

    Attributes:
        model: served model name, such as "turnwise-assistant".
        source: model folder, or name of a bundled or stored model. A relative path is below the folder of versions.
        weights_sha256: digest of the weights (`models.model_folders.weights_digest`).
        parent: number of the version whose weights the training started from; None: no version.
        recipe: recipe of the training, as YAML; empty if there is none.
        data_sha256: digests of the training files, by path relative to `source`.
        contributors: ids of the people whose answers or feedback it was trained on.
        scorecard: figures of the evaluation against the version that served, and the decision of the gate.
        has_passed_gate: True if the gate accepted it.
    """

    model: str
    source: str
    weights_sha256: str
    parent: int | None = None
    recipe: str = ""
    data_sha256: Mapping[str, str] = field(default_factory=dict)
    contributors: tuple[str, ...] = ()
    scorecard: Mapping[str, Any] = field(default_factory=dict)
    has_passed_gate: bool = False


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A version of a served model.

    Attributes:
        number: 1, 2, … for each model.
        created: Unix time in seconds.
        state: its state.
        content: what was added.
        share: share of the conversations that a canary answers; 0 in other states.
        is_erased: True if its weights were deleted: trained on data that had to be erased, or pruned.
    """

    number: int
    created: float
    state: VersionState
    content: NewVersion
    share: float = 0.0
    is_erased: bool = False

    @property
    def reference(self) -> str:
        """The name for people, such as "turnwise-assistant@3"."""
        return f"{self.content.model}@{self.number}"


@dataclass(frozen=True, slots=True)
class VersionEvent:
    """A change of state; the history has only such events and never loses one.

    Attributes:
        number: 1, 2, … over all models.
        time: Unix time in seconds.
        model: served model name.
        version: number of the version.
        previous: state before; None: the version was added.
        state: state after.
        share: share of a canary, else 0.
        actor: who changed it.
        reason: why, as a sentence.
    """

    number: int
    time: float
    model: str
    version: int
    previous: VersionState | None
    state: VersionState
    share: float
    actor: Actor
    reason: str


@dataclass(frozen=True, slots=True)
class VersionRouting:
    """Which versions of a model answer now.

    Attributes:
        revision: number of the last event of the registry.
        serving: version that answers.
        canary: version that answers `canary.share` of the conversations; None: there is none.
        shadow: version that also gets requests, without anybody seeing its answers; None: there is none.
    """

    revision: int
    serving: ModelVersion
    canary: ModelVersion | None = None
    shadow: ModelVersion | None = None

    @property
    def versions(self) -> tuple[ModelVersion, ...]:
        """The serving version, and the canary and the shadow if there are any."""
        return tuple(version for version in (self.serving, self.canary, self.shadow) if version is not None)


@dataclass(frozen=True, slots=True)
class VersionOutcomes:
    """Counts of answers of one version while a canary or a shadow runs beside it.

    Attributes:
        answers: completed and failed answers.
        errors: answers that failed.
        slow: answers whose first token took longer than the limit of the canary.
        rated: answers with a rating of a person.
        disliked: answers whose last rating is a thumb down.
    """

    answers: int = 0
    errors: int = 0
    slow: int = 0
    rated: int = 0
    disliked: int = 0

    def __add__(self, more: "VersionOutcomes") -> "VersionOutcomes":
        return VersionOutcomes(
            self.answers + more.answers, self.errors + more.errors, self.slow + more.slow,
            self.rated + more.rated, self.disliked + more.disliked,
        )  # fmt: skip


class ModelRegistry(Protocol):
    """Stores versions of served models. Several processes may use it; a change is visible to the next call of each.

    A method that writes returns after the change is synced to disk. Methods raise `NotFound` for an unknown model or
    version, `VersionConflict` for a transition that is not allowed, and `Unavailable` and `SaveFailed` as
    `ConversationStore` does.
    """

    def add(self, version: NewVersion, *, reason: str, actor: Actor = "person") -> ModelVersion:
        """Add a version as a candidate. It serves at once if no version of the model serves, as the first one does."""

    def get(self, model: str, number: int) -> ModelVersion:
        """A version."""

    def list(self, model: str) -> Sequence[ModelVersion]:
        """All versions of a model, oldest first; empty for an unknown model."""

    def models(self) -> Sequence[str]:
        """Names of the models that have versions."""

    def change_state(
        self, model: str, number: int, state: VersionState, *, actor: Actor, reason: str, share: float = 0.0
    ) -> ModelVersion:
        """Change the state of a version. In the same transaction, the version that had the state before is retired.

        A canary is also retired if another version begins to serve. The history has the reason.

        Args:
            model: served model name.
            number: number of the version.
            state: the new state.
            actor: who changes it. The gate may promote only versions that have passed it.
            reason: why, as a sentence.
            share: share of conversations of a canary, above 0 and below 1; 0 for other states.
        """

    def roll_back(self, model: str, *, actor: Actor, reason: str) -> ModelVersion:
        """Let the version serve again that served before the present one, and return it.

        `core.version_rules` states which one that is after several promotions and roll-backs.

        Raises `VersionConflict` if no version served before whose weights still exist.
        """

    def set_scorecard(self, model: str, number: int, scorecard: Mapping[str, Any], *, has_passed_gate: bool) -> None:
        """Replace the figures of the evaluation of a version."""

    def mark_erased(self, model: str, number: int, *, reason: str) -> ModelVersion:
        """Retire a version whose weights are deleted. If it served, the version before it serves.

        If no version served before whose weights still exist, no version of the model serves afterwards.
        """

    def forget_contributors(self, model: str, number: int) -> None:
        """Remove the ids of people from the record of a version whose weights are deleted, also from the files.

        Raises `VersionConflict` if the version is not erased.
        """

    def routing(self, model: str) -> VersionRouting | None:
        """Which versions answer now; None if no version of the model serves."""

    def serving_at(self, model: str, time: float) -> ModelVersion | None:
        """The version that served at a time; None if there was none."""

    def events(self, model: str | None = None, *, after: int = 0) -> Sequence[VersionEvent]:
        """Changes of states with a number above `after`, oldest first."""

    def revision(self) -> int:
        """Number of the last event; 0 if there is none. Cheap, so that servers can poll it."""

    def record_outcomes(self, model: str, outcomes: Mapping[int, VersionOutcomes]) -> None:
        """Add to the counts of versions, since the last change of the routing of the model."""

    def outcomes(self, model: str) -> Mapping[int, VersionOutcomes]:
        """Counts by version since the last change of the routing."""

    def close(self) -> None:
        """Close the database."""
