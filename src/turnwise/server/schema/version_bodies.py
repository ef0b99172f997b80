"""Bodies of `/v1/versions`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StrictBool, StrictFloat, StrictStr, model_validator

from turnwise.core.errors import InvalidParameter
from turnwise.core.model_versions import Actor, ModelVersion, VersionEvent, VersionOutcomes, VersionState
from turnwise.core.served_versions import LoadedVersion
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

    `loaded` is true if this server has it in memory; `error` says why it could not be loaded.
    """

    id: str
    object: Literal["model.version"] = "model.version"
    model: str
    number: int
    created: float
    state: VersionState
    share: float
    weights: str
    parent: int | None
    contributors: int
    scorecard: dict[str, Any]
    passed_gate: bool
    erased: bool
    loaded: bool
    requests: int
    error: str | None
    outcomes: OutcomesBody | None

    @classmethod
    def of(
        cls, version: ModelVersion, loaded: LoadedVersion | None, outcomes: Mapping[int, VersionOutcomes]
    ) -> "VersionBody":
        """Convert a version of the registry, with what this server knows about it."""
        content, counts = version.content, outcomes.get(version.number)
        return cls(
            id=version.reference, model=content.model, number=version.number, created=version.created,
            state=version.state, share=version.share, weights=content.weights_sha256, parent=content.parent,
            contributors=len(content.contributors), scorecard=dict(content.scorecard),
            passed_gate=content.has_passed_gate, erased=version.is_erased,
            loaded=loaded is not None and not loaded.error, requests=0 if loaded is None else loaded.num_requests,
            error=(loaded.error or None) if loaded is not None else None,
            outcomes=None if counts is None else OutcomesBody.of(counts),
        )  # fmt: skip


class VersionList(BaseModel):
    """Versions of the served models. `revision` changes with every change of a state."""

    object: Literal["list"] = "list"
    data: list[VersionBody]
    revision: int


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
