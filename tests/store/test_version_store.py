"""The registry of model versions: states, events, roll-back, erasure, counts, and files that other programs write."""

import sqlite3
import threading
from contextlib import closing

import pytest

from turnwise.core.errors import InvalidData, InvalidParameter, NotFound, UserError, VersionConflict
from turnwise.core.model_versions import NewVersion, VersionOutcomes
from turnwise.store import open_key_store, open_model_registry
from turnwise.store.sqlite.version_store import SqliteModelRegistry

CONTENT = NewVersion(
    "assistant",
    "assistant/2",
    "0123",
    parent=1,
    recipe="objective: dpo\n",
    data_sha256={"data/train.jsonl": "4567"},
    contributors=("key:shop/user:ana", "local"),
    scorecard={"win_rate": 0.61, "gate": {"passed": True}},
    has_passed_gate=True,
)


class Clock:
    """Unix time that a test sets."""

    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "versions.db"


@pytest.fixture
def registry(path, clock):
    opened = SqliteModelRegistry(path, clock)
    opened.add(NewVersion("assistant", "assistant", "abcd"), reason="It is the bundled model.")
    yield opened
    opened.close()


def promote(registry, number, state="serving", share=0.0):
    return registry.change_state("assistant", number, state, actor="person", reason="It is better.", share=share)


def add(registry, count=1):
    for _ in range(count):
        registry.add(NewVersion("assistant", "s", "d", has_passed_gate=True), reason="A training.")


def states(registry):
    return [version.state for version in registry.list("assistant")]


def test_the_first_version_serves_and_later_ones_are_candidates(registry):
    first = registry.get("assistant", 1)
    assert (first.number, first.state, first.created, first.reference) == (1, "serving", 1000.0, "assistant@1")
    added = registry.add(CONTENT, reason="The weekly training.", actor="gate")
    assert (added.number, added.state, added.content) == (2, "candidate", CONTENT)
    assert registry.get("assistant", 2) == added
    assert registry.list("assistant") == [first, added]
    assert registry.list("nobody") == []
    assert registry.models() == ["assistant"]
    last = registry.events()[-1]
    assert (last.previous, last.state, last.actor, last.reason) == (None, "candidate", "gate", "The weekly training.")


def test_models_have_numbers_of_their_own(registry):
    assert registry.add(NewVersion("coder", "coder", "d"), reason="r").number == 1
    add(registry)
    assert [version.number for version in registry.list("assistant")] == [1, 2]
    assert [event.model for event in registry.events()] == ["assistant", "coder", "assistant"]
    assert [event.version for event in registry.events("assistant")] == [1, 2]
    assert registry.models() == ["assistant", "coder"]


def test_a_promotion_retires_the_version_before_in_the_same_step(registry, clock):
    add(registry)
    revision = registry.revision()
    clock.now = 2000.0
    assert promote(registry, 2).state == "serving"
    assert states(registry) == ["retired", "serving"]
    assert [(event.version, event.previous, event.state, event.time) for event in registry.events(after=revision)] == [
        (1, "serving", "retired", 2000.0), (2, "candidate", "serving", 2000.0),
    ]  # fmt: skip


def test_the_routing_has_the_serving_version_the_canary_and_the_shadow(registry):
    add(registry, 3)
    promote(registry, 2, "shadow")
    promote(registry, 3, "canary", share=0.1)
    routing = registry.routing("assistant")
    assert (routing.serving.number, routing.shadow.number, routing.canary.number) == (1, 2, 3)
    assert routing.canary.share == 0.1
    assert routing.revision == registry.revision() == registry.events()[-1].number
    promote(registry, 4, "canary", share=0.5)
    assert states(registry) == ["serving", "shadow", "retired", "canary"]
    promote(registry, 4)
    routing = registry.routing("assistant")
    assert (routing.serving.number, routing.canary) == (4, None)
    assert routing.serving.share == 0.0
    assert registry.routing("nobody") is None


def test_what_is_not_allowed_changes_nothing(registry):
    add(registry)
    revision = registry.revision()
    for number, state, actor, error in [
        (1, "retired", "person", VersionConflict),
        (2, "candidate", "person", VersionConflict),
        (2, "serving", "canary_watch", VersionConflict),
        (2, "canary", "person", InvalidParameter),
        (3, "serving", "person", NotFound),
    ]:
        with pytest.raises(error):
            registry.change_state("assistant", number, state, actor=actor, reason="r")
    with pytest.raises(InvalidParameter, match="State the reason"):
        registry.change_state("assistant", 2, "serving", actor="person", reason="")
    with pytest.raises(NotFound):
        registry.roll_back("nobody", actor="person", reason="r")
    with pytest.raises(VersionConflict):
        registry.roll_back("assistant", actor="person", reason="r")
    with pytest.raises(NotFound):
        registry.add(NewVersion("assistant", "s", "d", parent=9), reason="r")
    assert registry.revision() == revision
    assert states(registry) == ["serving", "candidate"]


def test_rollbacks_go_further_back_each_time(registry):
    add(registry, 3)
    promote(registry, 2)
    promote(registry, 3)
    assert registry.roll_back("assistant", actor="person", reason="Bad answers.").number == 2
    assert registry.roll_back("assistant", actor="person", reason="Still bad.").number == 1
    with pytest.raises(VersionConflict, match="No version of assistant served before"):
        registry.roll_back("assistant", actor="person", reason="r")
    promote(registry, 4)
    assert registry.roll_back("assistant", actor="person", reason="Bad answers.").number == 1
    assert states(registry) == ["serving", "retired", "retired", "retired"]


def test_erasure_retires_and_lets_the_version_before_serve(registry):
    add(registry, 2)
    promote(registry, 2)
    promote(registry, 3)
    assert registry.mark_erased("assistant", 2, reason="A person withdrew consent.").is_erased
    erased = registry.mark_erased("assistant", 3, reason="The same.")
    assert (erased.state, erased.is_erased) == ("retired", True)
    assert states(registry) == ["serving", "retired", "retired"]
    revision = registry.revision()
    assert registry.mark_erased("assistant", 3, reason="Again.") == erased
    assert registry.revision() == revision


def test_without_a_version_that_is_left_none_serves_until_one_is_added(registry, clock):
    clock.now = 2000.0
    registry.mark_erased("assistant", 1, reason="A person withdrew consent.")
    assert registry.routing("assistant") is None
    assert (registry.serving_at("assistant", 1999.0).number, registry.serving_at("assistant", 2000.0)) == (1, None)
    clock.now = 3000.0
    add(registry, 2)
    assert states(registry) == ["retired", "serving", "candidate"]
    assert (registry.serving_at("assistant", 2999.0), registry.serving_at("assistant", 3000.0).number) == (None, 2)


def test_a_canary_that_gives_way_has_its_own_reason_in_the_history(registry):
    add(registry, 2)
    promote(registry, 2, "canary", 0.1)
    revision = registry.revision()
    promote(registry, 3)
    ended, *others = registry.events(after=revision)
    assert (ended.version, ended.state) == (2, "retired")
    assert ended.reason == "Ended as a canary without a decision about it, because assistant@3 was promoted."
    assert {event.reason for event in others} == {"It is better."}


def test_an_erased_retired_version_is_an_event_so_that_servers_notice(registry):
    add(registry)
    promote(registry, 2)
    revision = registry.revision()
    registry.mark_erased("assistant", 1, reason="A person withdrew consent.")
    (event,) = registry.events(after=revision)
    assert (event.version, event.previous, event.state, event.reason) == (
        1, "retired", "retired", "A person withdrew consent.",
    )  # fmt: skip


def test_the_version_that_served_at_a_time(registry, clock):
    add(registry, 2)
    for clock.now, number in [(2000.0, 2), (3000.0, 3), (4000.0, 1)]:
        promote(registry, number)
    times = [999.9, 1000.0, 1999.0, 2000.0, 3500.0, 4000.0, 1e12]
    versions = [registry.serving_at("assistant", time) for time in times]
    assert [version and version.number for version in versions] == [None, 1, 1, 2, 3, 1, 1]
    assert registry.serving_at("nobody", 1e12) is None


def test_times_of_events_never_decrease(registry, clock):
    add(registry)
    clock.now = 10.0
    promote(registry, 2)
    assert [event.time for event in registry.events()] == [1000.0] * 4
    assert registry.serving_at("assistant", 1000.0).number == 2


def test_a_scorecard_can_be_added_later(registry):
    add(registry)
    registry.set_scorecard("assistant", 2, {"win_rate": 0.4}, has_passed_gate=False)
    content = registry.get("assistant", 2).content
    assert (content.scorecard, content.has_passed_gate) == ({"win_rate": 0.4}, False)
    with pytest.raises(VersionConflict, match="has not passed the gate"):
        registry.change_state("assistant", 2, "serving", actor="gate", reason="r")
    with pytest.raises(InvalidData, match="as JSON"):
        registry.set_scorecard("assistant", 2, {"win_rate": float("nan")}, has_passed_gate=False)
    with pytest.raises(NotFound):
        registry.set_scorecard("assistant", 9, {}, has_passed_gate=False)


def test_counts_add_up_until_the_routing_changes(registry):
    add(registry, 2)
    promote(registry, 2, "canary", share=0.1)
    registry.record_outcomes("assistant", {1: VersionOutcomes(answers=9, errors=1), 2: VersionOutcomes(answers=1)})
    registry.record_outcomes("assistant", {2: VersionOutcomes(answers=2, slow=1, rated=2, disliked=1)})
    expected = {1: VersionOutcomes(9, 1), 2: VersionOutcomes(3, 0, 1, 2, 1)}
    assert registry.outcomes("assistant") == expected
    registry.change_state("assistant", 3, "retired", actor="person", reason="Not needed.")
    add(registry)
    assert registry.outcomes("assistant") == expected, "candidates answer nobody"
    promote(registry, 2, "canary", share=0.2)
    assert registry.outcomes("assistant") == {}
    with pytest.raises(NotFound):
        registry.record_outcomes("assistant", {1: VersionOutcomes(1), 9: VersionOutcomes(1)})
    assert registry.outcomes("assistant") == {}


def test_events_can_neither_be_changed_nor_deleted_nor_replaced(registry, path):
    with closing(sqlite3.connect(path)) as connection:
        for statement in (
            "UPDATE version_events SET reason = 'another'",
            "DELETE FROM version_events",
            "INSERT OR REPLACE INTO version_events SELECT number, 0, model, version, previous, state, share, actor, ''"
            " FROM version_events",
        ):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)
    assert registry.events()[0].reason == "It is the bundled model."


def test_two_versions_cannot_serve_whatever_a_program_writes(registry, path):
    add(registry)
    with closing(sqlite3.connect(path)) as connection, pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        connection.execute("UPDATE model_versions SET state = 'serving'")


def test_a_change_is_visible_to_others_and_after_reopening(registry, path):
    reader = open_model_registry(f"sqlite:///{path}")
    before = reader.revision()
    add(registry)
    promote(registry, 2)
    assert reader.revision() > before
    assert reader.routing("assistant") == registry.routing("assistant")
    reader.close()
    registry.close()
    reopened = open_model_registry(f"sqlite:///{path}")
    assert [event.state for event in reopened.events("assistant")] == ["serving", "candidate", "retired", "serving"]
    reopened.close()


def test_threads_that_promote_at_the_same_time_take_turns(registry):
    add(registry, 4)
    threads = [threading.Thread(target=promote, args=(registry, number)) for number in range(2, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(states(registry)) == ["retired"] * 4 + ["serving"]
    assert registry.roll_back("assistant", actor="person", reason="r").number in range(2, 6)


def test_a_registry_in_memory_needs_no_file():
    registry = open_model_registry("sqlite:///:memory:")
    assert (registry.revision(), registry.models()) == (0, [])
    registry.close()


def test_files_of_other_programs_are_refused(tmp_path):
    open_key_store(f"sqlite:///{tmp_path / 'keys.db'}").create("me")
    with pytest.raises(UserError, match="Nothing was changed"):
        open_model_registry(f"sqlite:///{tmp_path / 'keys.db'}")
    with pytest.raises(InvalidParameter, match="unknown scheme"):
        open_model_registry("postgres:///versions")
