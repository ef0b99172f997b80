"""Which change of a model version is allowed, what it does to the other versions, and where a roll-back goes.

Pure functions of versions and events, without a database. A registry calls a `plan_…` function in a transaction and
applies the returned changes in their order.

A roll-back follows the serving stack, which is computed from the events: the numbers of the versions that served, the
present one last. A version that starts to serve is put on top. If it is in the stack already, everything above it is
removed first, because to let a version serve again is to go back to it. So

    promote 1, 2, 3           stack 1 2 3
    roll back                 stack 1 2
    roll back                 stack 1
    promote 4, roll back      stack 1 4, then 1: version 3 was abandoned and does not come back by itself
    promote 3 again           stack 1 3: a person decided anew
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from turnwise.core.errors import InvalidParameter, NotFound, VersionConflict
from turnwise.core.model_versions import (
    ALLOWED_STATES,
    TRANSITIONS,
    Actor,
    ModelVersion,
    NewVersion,
    VersionEvent,
    VersionState,
)

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # also the name of a folder
SINGLE_STATES: tuple[VersionState, ...] = ("shadow", "canary", "serving")  # of at most one version of a model
ROLLS_BACK: tuple[Actor, ...] = ("person", "gate")
FORCED = " (forced: it has not passed the gate)"  # added to the reason
_ACTOR_NAMES: Mapping[Actor, str] = {
    "person": "A person", "gate": "The gate", "canary_watch": "The watch of a canary", "update": "An update of a model",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StateChange:
    """A change of one version, which becomes one event.

    Attributes:
        number: number of the version.
        previous: state before.
        state: state after; the same for a canary that gets another share and for a retired version that is erased.
        share: share of a canary, else 0.
        reason: why, as a sentence; empty: for the reason of the change that it is a part of.
    """

    number: int
    previous: VersionState
    state: VersionState
    share: float = 0.0
    reason: str = ""


def check_new_version(version: NewVersion, versions: Sequence[ModelVersion]) -> None:
    """Check a version before it is added.

    Raises:
        InvalidParameter: the name of the model cannot be used in references such as NAME@3.
        NotFound: the parent is no version of the model.
    """
    check_model_name(version.model)
    if version.parent is not None:
        find_version(version.model, versions, version.parent)


def check_model_name(model: str) -> None:
    """Raise `InvalidParameter` if a model of this name cannot have versions."""
    if not MODEL_NAME.fullmatch(model):
        raise InvalidParameter(
            "model",
            f"'{model[:60]}' cannot have versions: its name may have letters, digits, '.', '-' and '_' only, "
            "up to 100, and begins with a letter or a digit.",
        )


def check_reason(reason: str) -> None:
    """Raise `InvalidParameter` if a reason is empty."""
    if not reason.strip():
        raise InvalidParameter("reason", "State the reason as a sentence; the history of the versions shows it.")


def find_version(model: str, versions: Iterable[ModelVersion], number: int) -> ModelVersion:
    """The version with a number. Raises `NotFound`."""
    for version in versions:
        if version.number == number:
            return version
    raise NotFound(f"There is no version {number} of {model[:60]}. `turnwise models versions` lists the versions.")


def plan_change(
    versions: Sequence[ModelVersion], version: ModelVersion, state: VersionState, *, actor: Actor, share: float = 0.0
) -> tuple[StateChange, ...]:
    """The changes when a version gets a state: those of the versions that have to give way, then its own.

    The version that had the state before is retired. So is a canary if another version begins to serve: it was compared
    with a version that does not serve any more.

    Args:
        versions: all versions of the model.
        version: the version to change, one of them.
        state: the new state.
        actor: who changes it.
        share: share of a canary, else 0.

    Raises:
        InvalidParameter: the share does not fit the state.
        VersionConflict: the transition is not possible, or not allowed to the actor.
    """
    _check_share(state, share)
    _check_transition(version, state, share)
    _check_actor(version, state, actor)
    return (
        *_end_canary(versions, version, state),
        *_retire_predecessor(versions, version, state),
        StateChange(version.number, version.state, state, share),
    )


def plan_rollback(
    versions: Sequence[ModelVersion], events: Iterable[VersionEvent], *, actor: Actor
) -> tuple[StateChange, ...]:
    """The changes of a roll-back: the present version is retired, the one that served before it serves.

    Args:
        versions: all versions of a model, at least one.
        events: all events of the model, oldest first.
        actor: who rolls back.

    Raises:
        VersionConflict: no version served before whose weights still exist, or the actor may not roll back.
    """
    if actor not in ROLLS_BACK:
        raise VersionConflict(f"{_ACTOR_NAMES[actor]} may not roll back.")
    target = rollback_target(versions, events)
    if target is None:
        raise VersionConflict(
            f"No version of {versions[0].content.model} served before the present one, or its weights are deleted. "
            "Promote another version."
        )
    return (*_retire_predecessor(versions, target, "serving"), StateChange(target.number, target.state, "serving"))


def plan_erasure(
    versions: Sequence[ModelVersion], events: Iterable[VersionEvent], version: ModelVersion
) -> tuple[StateChange, ...]:
    """The changes when the weights of a version are deleted: it is retired and, if it served, the one before serves.

    If no version served before whose weights still exist, no version of the model serves afterwards.
    """
    retirement = StateChange(version.number, version.state, "retired")
    target = rollback_target(versions, events) if version.state == "serving" else None
    return (retirement,) if target is None else (retirement, StateChange(target.number, target.state, "serving"))


def rollback_target(versions: Sequence[ModelVersion], events: Iterable[VersionEvent]) -> ModelVersion | None:
    """The version that a roll-back would let serve; None if there is none whose weights still exist."""
    return next(iter(earlier_versions(versions, events)), None)


def earlier_versions(versions: Sequence[ModelVersion], events: Iterable[VersionEvent]) -> tuple[ModelVersion, ...]:
    """The versions that one roll-back after the other would let serve, the next one first; only those with weights."""
    by_number = {version.number: version for version in versions}
    earlier = [by_number[number] for number in reversed(serving_stack(events)[:-1])]
    return tuple(version for version in earlier if not version.is_erased)


def serving_stack(events: Iterable[VersionEvent]) -> tuple[int, ...]:
    """Numbers of the versions that a roll-back passes, the serving one last (see the top of this module).

    Args:
        events: all events of one model, oldest first.
    """
    stack: list[int] = []
    for event in events:
        if event.state == "serving":
            if event.version in stack:
                del stack[stack.index(event.version) :]
            stack.append(event.version)
    return tuple(stack)


def needs_force(version: ModelVersion, state: VersionState, events: Iterable[VersionEvent]) -> bool:
    """True if a person has to confirm a change: people would get answers of a version that never served or passed.

    Args:
        version: the version.
        state: the state that it would get.
        events: all events of its model.
    """
    if state not in ("canary", "serving") or version.content.has_passed_gate:
        return False
    return not any(event.version == version.number and event.state == "serving" for event in events)


def changes_routing(change: StateChange) -> bool:
    """True if another version answers after a change, or gets another share."""
    return change.previous in SINGLE_STATES or change.state in SINGLE_STATES


def _check_share(state: VersionState, share: float) -> None:
    if state == "canary" and not 0.0 < share < 1.0:
        raise InvalidParameter("share", f"The share of a canary should be between 0 and 1 (0.1: 10 %), got {share:g}.")
    if state != "canary" and share != 0.0:
        raise InvalidParameter("share", f"Only a canary has a share; got {share:g} for the state '{state}'.")


def _check_transition(version: ModelVersion, state: VersionState, share: float) -> None:
    if version.is_erased:
        raise VersionConflict(f"The weights of {version.reference} are deleted. Choose another version.")
    if version.state == state and (state != "canary" or version.share == share):
        raise VersionConflict(f"{version.reference} is in the state '{state}' already.")
    if version.state == "serving":
        raise VersionConflict(f"{version.reference} serves. Promote another version or roll back; that retires it.")
    if state not in TRANSITIONS[version.state]:
        states = ", ".join(TRANSITIONS[version.state])
        raise VersionConflict(f"{version.reference} is '{version.state}'. It can become: {states}.")


def _check_actor(version: ModelVersion, state: VersionState, actor: Actor) -> None:
    if state not in ALLOWED_STATES[actor]:
        raise VersionConflict(f"{_ACTOR_NAMES[actor]} may not change a version to '{state}'.")
    if actor == "gate" and state != "retired" and not version.content.has_passed_gate:
        raise VersionConflict(f"{version.reference} has not passed the gate, so the gate may not promote it.")
    if actor == "canary_watch" and version.state != "canary":
        raise VersionConflict(f"{version.reference} is no canary, and the watch may end a canary only.")


def _end_canary(
    versions: Sequence[ModelVersion], version: ModelVersion, state: VersionState
) -> tuple[StateChange, ...]:
    """The end of a canary that was not decided about, with a reason of its own: the history shows why it ended."""
    if state not in ("canary", "serving"):
        return ()
    cause = "became the canary" if state == "canary" else "was promoted"
    reason = f"Ended as a canary without a decision about it, because {version.reference} {cause}."
    return tuple(
        StateChange(holder.number, "canary", "retired", reason=reason)
        for holder in versions
        if holder.state == "canary" and holder.number != version.number
    )


def _retire_predecessor(
    versions: Sequence[ModelVersion], version: ModelVersion, state: VersionState
) -> tuple[StateChange, ...]:
    """The retirement of the version that has a state of which there is only one."""
    return tuple(
        StateChange(holder.number, state, "retired")
        for holder in versions
        if state in ("shadow", "serving") and holder.state == state and holder.number != version.number
    )
