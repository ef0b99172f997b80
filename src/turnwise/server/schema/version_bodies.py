"""Bodies of `/v1/versions`."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StrictBool, StrictFloat, StrictStr, model_validator

from turnwise.core.errors import InvalidParameter
from turnwise.core.model_versions import Actor, ModelVersion, VersionEvent, VersionOutcomes, VersionState
from turnwise.core.served_versions import LoadedVersion
from turnwise.core.version_comparison import headline_figures
from turnwise.core.version_rules import needs_force
from turnwise.server.schema.request_field import RequestBody

MAX_REASON_CHARS = 500
Reason = Annotated[StrictStr, Field(min_length=1, max_length=MAX_REASON_CHARS, description="Why, as a sentence.")]


class VersionPromotion(RequestBody):
    """The new state of a version."""

    state: Annotated[
        Literal["serving", "canary", "shadow", "candidate", "retired"],
        Field(description="`serving` answers all requests, `canary` a share of the conversations, `shadow` copies."),
    ] = "serving"
    share: Annotated[
        StrictFloat | None, Field(gt=0, lt=1, description="Share of the conversations; for `canary` only.")
    ] = None
    reason: Reason
    force: Annotated[StrictBool, Field(description="Promote a version that did not pass the gate.")] = False

    @model_validator(mode="after")
    def _check_share(self) -> "VersionPromotion":
        if (self.share is not None) != (self.state == "canary"):
            raise InvalidParameter("share", "'share' is needed for a canary, such as 0.1, and for no other state.")
        return self


class VersionRollback(RequestBody):
    """Why the version before has to serve again."""

    reason: Reason


class OutcomesBody(BaseModel):
    """Counts of answers since the last change of the routing."""

    answers: int
    errors: int
    slow: int
    rated: int
    disliked: int

    @classmethod
    def of(cls, outcomes: VersionOutcomes) -> "OutcomesBody":
        """Convert counts."""
        return cls(
            answers=outcomes.answers, errors=outcomes.errors, slow=outcomes.slow, rated=outcomes.rated,
            disliked=outcomes.disliked,
        )  # fmt: skip


class VersionBody(BaseModel):
    """A version of a served model.

    `loaded` is true if this server has it in memory; `error` says why it could not be loaded. `source`, `parent` and
    `data`, the names of the training files, say what it was made from. `figures` are the main ones of the scorecard.
    `needs_force` is true if it has neither passed the gate nor served.
    """

    id: str
    object: Literal["model.version"] = "model.version"
    model: str
    number: int
    created: float
    state: VersionState
    share: float
    weights: str
    source: str
    parent: int | None
    data: list[str]
    contributors: int
    scorecard: dict[str, Any]
    figures: dict[str, float]
    passed_gate: bool
    needs_force: bool
    erased: bool
    loaded: bool
    requests: int
    error: str | None
    outcomes: OutcomesBody | None

    @classmethod
    def of(
        cls,
        version: ModelVersion,
        loaded: LoadedVersion | None,
        outcomes: Mapping[int, VersionOutcomes],
        events: Sequence[VersionEvent],
    ) -> "VersionBody":
        """Convert a version of the registry, with what this server knows about it, and all events of its model."""
        content, counts = version.content, outcomes.get(version.number)
        return cls(
            id=version.reference, model=content.model, number=version.number, created=version.created,
            state=version.state, share=version.share, weights=content.weights_sha256, source=content.source,
            parent=content.parent, data=list(content.data_sha256), contributors=len(content.contributors),
            scorecard=dict(content.scorecard), figures=headline_figures(content.scorecard),
            passed_gate=content.has_passed_gate, needs_force=needs_force(version, "serving", events),
            erased=version.is_erased,
            loaded=loaded is not None and not loaded.error, requests=0 if loaded is None else loaded.num_requests,
            error=(loaded.error or None) if loaded is not None else None,
            outcomes=None if counts is None else OutcomesBody.of(counts),
        )  # fmt: skip


class VersionList(BaseModel):
    """Versions of the served models. `revision` changes with every change of a state.

    `rollback` has the version that a roll-back of a model would let serve; null if there is none.
    """

    object: Literal["list"] = "list"
    data: list[VersionBody]
    revision: int
    rollback: dict[str, str | None]


class VersionDifferences(BaseModel):
    """Values that differ between two versions, as pairs by name; null for a value that a version lacks.

    `recipe` has settings such as `training.learning_rate`, `data` the digests of training files, `figures` the numbers
    of the scorecards, `lineage` the parent and the number of contributors.
    """

    object: Literal["model.version.differences"] = "model.version.differences"
    first: str
    second: str
    recipe: dict[str, tuple[Any, Any]]
    data: dict[str, tuple[str | None, str | None]]
    figures: dict[str, tuple[float | None, float | None]]
    lineage: dict[str, tuple[int | None, int | None]]


class ServingVersion(BaseModel):
    """The version that served at a time; null if none did."""

    object: Literal["model.version.serving"] = "model.version.serving"
    time: float
    version: str | None


class VersionEventBody(BaseModel):
    """A change of the state of a version."""

    number: int
    object: Literal["model.version.event"] = "model.version.event"
    time: float
    version: str
    previous: VersionState | None
    state: VersionState
    share: float
    actor: Actor
    reason: str

    @classmethod
    def of(cls, event: VersionEvent) -> "VersionEventBody":
        """Convert an event of the registry."""
        return cls(
            number=event.number, time=event.time, version=f"{event.model}@{event.version}", previous=event.previous,
            state=event.state, share=event.share, actor=event.actor, reason=event.reason,
        )  # fmt: skip


class VersionHistory(BaseModel):
    """Changes of states, oldest first."""

    object: Literal["list"] = "list"
    data: list[VersionEventBody]
