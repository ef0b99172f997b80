"""The rules of model versions: transitions, actors, and where a roll-back goes."""

import itertools

import pytest

from turnwise.core.errors import InvalidParameter, NotFound, VersionConflict
from turnwise.core.model_versions import (
    ALLOWED_STATES,
    TRANSITIONS,
    ModelVersion,
    NewVersion,
    VersionEvent,
)
from turnwise.core.version_rules import (
    StateChange,
    changes_routing,
    check_new_version,
    check_reason,
    needs_force,
    plan_change,
    plan_erasure,
    plan_rollback,
    rollback_target,
    serving_stack,
)


def version(number, state="candidate", *, share=0.0, is_erased=False, passed=True, model="m"):
    content = NewVersion(model, f"m/{number}", "digest", has_passed_gate=passed)
    return ModelVersion(number, 0.0, state, content, 0.3 if state == "canary" else share, is_erased)


def served(*numbers):
    """The events of versions that served one after the other."""
    return [
        VersionEvent(i, i, "m", number, "retired", "serving", 0.0, "person", "r") for i, number in enumerate(numbers)
    ]


def share_of(state):
    return 0.1 if state == "canary" else 0.0


@pytest.mark.parametrize(("previous", "state"), list(itertools.product(TRANSITIONS, TRANSITIONS)))
def test_a_person_can_do_the_transitions_of_the_table_and_no_other(previous, state):
    target = version(1, previous)
    versions = [target, version(2, "serving" if previous != "serving" else "retired")]
    # That a serving version retires is a consequence of another one that serves, and no change of its own.
    if state in TRANSITIONS[previous] and previous != "serving":
        changes = plan_change(versions, target, state, actor="person", share=share_of(state))
        assert changes[-1] == StateChange(1, previous, state, share_of(state))
    else:
        with pytest.raises(VersionConflict, match="m@1"):
            plan_change(versions, target, state, actor="person", share=share_of(state))


@pytest.mark.parametrize("state", ["shadow", "serving"])
def test_the_version_that_had_the_state_is_retired_first(state):
    versions = [version(1, "serving"), version(2, "shadow"), version(3)]
    holder = next(entry for entry in versions if entry.state == state)
    assert plan_change(versions, versions[2], state, actor="gate", share=share_of(state)) == (
        StateChange(holder.number, state, "retired"),
        StateChange(3, "candidate", state, share_of(state)),
    )


@pytest.mark.parametrize(("state", "cause"), [("canary", "became the canary"), ("serving", "was promoted")])
def test_a_canary_that_gives_way_ends_with_a_reason_of_its_own(state, cause):
    versions = [version(1, "serving"), version(2, "canary"), version(3)]
    ended, *_, last = plan_change(versions, versions[2], state, actor="gate", share=share_of(state))
    assert ended == StateChange(
        2, "canary", "retired", reason=f"Ended as a canary without a decision about it, because m@3 {cause}."
    )
    assert last == StateChange(3, "candidate", state, share_of(state))


def test_a_canary_that_is_promoted_itself_does_not_end():
    versions = [version(1, "serving"), version(2, "canary")]
    assert plan_change(versions, versions[1], "serving", actor="person") == (
        StateChange(1, "serving", "retired"), StateChange(2, "canary", "serving"),
    )  # fmt: skip


def test_an_update_lets_the_new_weights_serve_and_does_nothing_else():
    versions = [version(1, "serving"), version(2)]
    assert plan_change(versions, versions[1], "serving", actor="update")[-1] == StateChange(2, "candidate", "serving")
    for state in ("shadow", "canary", "retired"):
        with pytest.raises(VersionConflict, match="An update of a model may not"):
            plan_change(versions, versions[1], state, actor="update", share=share_of(state))
    with pytest.raises(VersionConflict, match="may not roll back"):
        plan_rollback(versions, served(2, 1), actor="update")


def test_the_serving_version_cannot_leave_without_a_successor():
    serving = version(1, "serving")
    with pytest.raises(VersionConflict, match="m@1 serves"):
        plan_change([serving, version(2)], serving, "retired", actor="person")


def test_a_canary_can_get_another_share():
    canary = version(2, "canary")
    assert plan_change([version(1, "serving"), canary], canary, "canary", actor="person", share=0.5) == (
        StateChange(2, "canary", "canary", 0.5),
    )
    with pytest.raises(VersionConflict, match="in the state 'canary' already"):
        plan_change([canary], canary, "canary", actor="person", share=0.3)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_canary_needs_a_share_between_0_and_1(share):
    with pytest.raises(InvalidParameter, match="between 0 and 1"):
        plan_change([version(1)], version(1), "canary", actor="person", share=share)


def test_only_a_canary_has_a_share():
    with pytest.raises(InvalidParameter, match="Only a canary has a share"):
        plan_change([version(1)], version(1), "serving", actor="person", share=0.1)


def test_the_gate_promotes_only_what_has_passed_it():
    failed = version(2, passed=False)
    for state in ("shadow", "canary", "serving"):
        with pytest.raises(VersionConflict, match="m@2 has not passed the gate"):
            plan_change([failed], failed, state, actor="gate", share=share_of(state))
        assert plan_change([failed], failed, state, actor="person", share=share_of(state))
    assert plan_change([failed], failed, "retired", actor="gate") == (StateChange(2, "candidate", "retired"),)
    retired = version(3, "retired")
    with pytest.raises(VersionConflict, match="may not change a version to 'candidate'"):
        plan_change([retired], retired, "candidate", actor="gate")


def test_the_watch_of_a_canary_can_end_a_canary_and_nothing_else():
    canary, shadow = version(2, "canary"), version(3, "shadow")
    versions = [version(1, "serving"), canary, shadow]
    assert plan_change(versions, canary, "retired", actor="canary_watch") == (StateChange(2, "canary", "retired"),)
    for target, state in [(canary, "serving"), (canary, "candidate"), (shadow, "retired"), (shadow, "canary")]:
        with pytest.raises(VersionConflict):
            plan_change(versions, target, state, actor="canary_watch", share=share_of(state))
    with pytest.raises(VersionConflict, match="may not roll back"):
        plan_rollback(versions, served(3, 1), actor="canary_watch")


def test_every_actor_has_a_row_in_the_table():
    assert ALLOWED_STATES["person"] == tuple(TRANSITIONS)


@pytest.mark.parametrize(
    ("promotions", "stack"),
    [
        ([], ()),
        ([1], (1,)),
        ([1, 2, 3], (1, 2, 3)),
        ([1, 2, 3, 2], (1, 2)),  # a roll-back
        ([1, 2, 3, 2, 1], (1,)),  # twice
        ([1, 2, 3, 2, 4], (1, 2, 4)),  # 3 was abandoned
        ([1, 2, 3, 2, 3], (1, 2, 3)),  # and a person decided anew
        ([1, 2, 3, 1, 3], (1, 3)),
    ],
)
def test_the_serving_stack_after_promotions_and_rollbacks(promotions, stack):
    assert serving_stack(served(*promotions)) == stack


def test_a_rollback_goes_to_the_version_before_and_never_to_an_erased_one():
    versions = [version(1, "retired"), version(2, "retired"), version(3, "serving")]
    assert plan_rollback(versions, served(1, 2, 3), actor="person") == (
        StateChange(3, "serving", "retired"), StateChange(2, "retired", "serving"),
    )  # fmt: skip
    versions[1] = version(2, "retired", is_erased=True)
    assert rollback_target(versions, served(1, 2, 3)) == versions[0]
    versions[0] = version(1, "retired", is_erased=True)
    with pytest.raises(VersionConflict, match="No version of m served before"):
        plan_rollback(versions, served(1, 2, 3), actor="person")


def test_a_version_that_waits_again_after_it_served_can_be_rolled_back_to():
    versions = [version(1, "shadow"), version(2, "serving")]
    assert plan_rollback(versions, served(1, 2), actor="gate")[-1] == StateChange(1, "shadow", "serving")


def test_erasing_the_serving_version_rolls_back():
    versions = [version(1, "retired"), version(2, "serving"), version(3, "canary")]
    events = served(1, 2)
    assert plan_erasure(versions, events, versions[1]) == (
        StateChange(2, "serving", "retired"), StateChange(1, "retired", "serving"),
    )  # fmt: skip
    assert plan_erasure(versions, events, versions[2]) == (StateChange(3, "canary", "retired"),)
    assert plan_erasure(versions, events, versions[0]) == (StateChange(1, "retired", "retired"),)
    assert plan_erasure(versions, served(2), versions[1]) == (StateChange(2, "serving", "retired"),)


def test_an_erased_version_stays_retired():
    erased = version(1, "retired", is_erased=True)
    for state in TRANSITIONS:
        with pytest.raises(VersionConflict, match="weights of m@1 are deleted"):
            plan_change([erased], erased, state, actor="person", share=share_of(state))


def test_candidates_that_come_and_go_leave_the_routing_as_it_is():
    assert not changes_routing(StateChange(1, "candidate", "retired"))
    assert not changes_routing(StateChange(1, "retired", "candidate"))
    assert changes_routing(StateChange(1, "candidate", "shadow"))
    assert changes_routing(StateChange(1, "canary", "retired"))


def test_a_version_that_neither_passed_nor_served_needs_force_before_people_get_its_answers():
    failed, history = version(3, passed=False), served(1, 2)
    needing = [state for state in TRANSITIONS if needs_force(failed, state, history)]
    assert needing == ["canary", "serving"]
    assert not needs_force(version(3), "serving", history)
    assert not needs_force(version(2, "retired", passed=False), "serving", history)


def test_a_new_version_needs_a_name_for_references_and_a_parent_that_exists():
    for name in ("", "a@1", "a/b", ".hidden", "a" * 101, "../up"):
        with pytest.raises(InvalidParameter, match="cannot have versions"):
            check_new_version(NewVersion(name, "s", "d"), [])
    with pytest.raises(NotFound, match="no version 7 of m"):
        check_new_version(NewVersion("m", "s", "d", parent=7), [version(1)])
    check_new_version(NewVersion("turnwise-assistant", "s", "d", parent=1), [version(1)])
    with pytest.raises(InvalidParameter, match="State the reason"):
        check_reason(" ")
