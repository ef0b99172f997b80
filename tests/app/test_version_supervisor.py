"""The supervisor of versions: it loads, swaps and unloads as the registry says, and survives its failures."""

import logging
import threading
from contextlib import contextmanager

import pytest

from turnwise.app.version_serving.version_supervisor import VersionSupervisor
from turnwise.core.errors import InvalidData
from turnwise.core.model_versions import NewVersion, VersionOutcomes
from turnwise.core.version_rules import earlier_versions
from turnwise.testing import ScriptedChatService
from version_stand_ins import registry_with


class Loader:
    """Opens scripted services. Versions in `broken` cannot be loaded; `gate` delays loading while it is cleared."""

    def __init__(self):
        self.opened, self.closed, self.broken = [], [], set()
        self.gate = threading.Event()
        self.gate.set()

    @contextmanager
    def __call__(self, version):
        self.gate.wait(10)
        self.opened.append(version.number)
        if version.number in self.broken:
            raise InvalidData(f"The weights of {version.reference} are damaged.")
        yield ScriptedChatService([str(version.number)], name="shop")
        self.closed.append(version.number)


class WorseAtOnce:
    """Rejects at the first look with a failure of the canary."""

    def update(self, canary, serving):
        return canary.failures > 0


@pytest.fixture
def registry():
    return registry_with("shop", "one", "two", "three")


@pytest.fixture
def loader():
    return Loader()


@pytest.fixture
def supervisor(registry, loader):
    """Its thread does not run: the tests take the steps."""
    opened = VersionSupervisor(registry, "shop", loader, new_test=WorseAtOnce, flush_seconds=0)
    yield opened
    loader.gate.set()
    opened._pool.close()


def settle(supervisor):
    """Steps until nothing is being loaded."""
    supervisor.step()
    for future in list(supervisor._pool._loading.values()):
        future.exception(10)
    supervisor.step()


def answering(supervisor):
    """Numbers of the serving version, the canary and the shadow."""
    routing = supervisor.router.state.routing
    return tuple(
        None if version is None else version.number for version in (routing.serving, routing.canary, routing.shadow)
    )


def promote(registry, number, state="serving", share=0.0):
    registry.change_state("shop", number, state, actor="person", reason="A test.", share=share)


def test_only_what_answers_is_loaded(supervisor, registry, loader):
    settle(supervisor)
    assert answering(supervisor) == (1, None, None)
    assert loader.opened == [1]


def test_a_promoted_version_answers_once_it_is_loaded_and_the_old_one_is_closed(supervisor, registry, loader):
    loader.gate.clear()
    promote(registry, 2)
    supervisor.step()
    assert answering(supervisor) == (1, None, None)
    loader.gate.set()
    settle(supervisor)
    assert answering(supervisor) == (2, None, None)
    assert loader.closed == [1]


def test_an_old_version_is_closed_after_its_last_request(supervisor, registry, loader):
    live = supervisor.router.state.serving
    assert live.acquire()
    promote(registry, 2)
    settle(supervisor)
    assert loader.closed == []
    live.release()
    supervisor.step()
    assert loader.closed == [1]


def test_a_version_that_serves_again_before_its_last_request_ended_is_not_loaded_again(supervisor, registry, loader):
    live = supervisor.router.state.serving
    assert live.acquire()
    promote(registry, 2)
    settle(supervisor)
    registry.roll_back("shop", actor="person", reason="A test.")
    settle(supervisor)
    live.release()
    assert supervisor.router.state.serving is live
    assert (loader.opened, loader.closed) == ([1, 2], [2])


def test_canary_and_shadow_answer_beside_the_serving_version_and_stop_at_once(supervisor, registry, loader):
    promote(registry, 2, "canary", 0.1)
    promote(registry, 3, "shadow")
    settle(supervisor)
    assert answering(supervisor) == (1, 2, 3)
    promote(registry, 2)
    settle(supervisor)
    assert answering(supervisor) == (2, None, 3)
    assert loader.opened == [1, 2, 3] or loader.opened == [1, 3, 2]
    promote(registry, 3, "candidate")
    supervisor.step()
    assert answering(supervisor) == (2, None, None)


def test_a_canary_can_get_another_share(supervisor, registry):
    promote(registry, 2, "canary", 0.1)
    settle(supervisor)
    promote(registry, 2, "canary", 0.5)
    supervisor.step()
    assert supervisor.router.state.routing.canary.share == 0.5


class TestFailures:
    def test_a_version_that_cannot_be_loaded_leaves_the_old_one_and_is_reported_once(
        self, supervisor, registry, loader, caplog
    ):
        loader.broken = {2}
        promote(registry, 2)
        with caplog.at_level(logging.ERROR, "turnwise.server"):
            for _ in range(5):
                settle(supervisor)
        assert answering(supervisor) == (1, None, None)
        assert [record.getMessage() for record in caplog.records if "damaged" in record.getMessage()] == [
            "Version 2 could not be loaded; the others go on. The weights of shop@2 are damaged."
        ]
        assert [loaded.error for loaded in supervisor.service.loaded_versions() if loaded.version.number == 2] == [
            "The weights of shop@2 are damaged."
        ]
        assert loader.opened == [1, 2]

    def test_a_server_whose_serving_version_cannot_be_loaded_starts_with_a_version_that_served_before(
        self, registry, loader, caplog
    ):
        promote(registry, 2)
        promote(registry, 3)
        loader.broken = {3, 2}
        fallbacks = earlier_versions(registry.list("shop"), registry.events("shop"))
        opened = VersionSupervisor(registry, "shop", loader, fallbacks=fallbacks)
        revision = registry.revision()
        for _ in range(3):
            settle(opened)
        assert (answering(opened), loader.opened) == ((1, None, None), [3, 2, 1])
        assert registry.revision() == revision, "another server may still have the files"
        assert [record.getMessage() for record in caplog.records] == [
            "shop@3 serves but cannot be loaded, so shop@1 answers until another version is promoted. "
            "The weights of shop@3 are damaged."
        ]
        assert opened.describe() == "shop@1 answers; shop@3 should serve and is not loaded"
        assert {entry.version.number: entry.error for entry in opened.service.loaded_versions()} == {
            1: "", 3: "The weights of shop@3 are damaged.",
        }  # fmt: skip
        loader.broken = set()
        registry.add(NewVersion("bank", "folder", "digest"), reason="A change of the registry.")
        settle(opened)
        assert (answering(opened), opened.describe()) == ((3, None, None), "shop@3 answers")
        opened._pool.close()

    def test_a_server_without_a_version_that_can_be_loaded_says_why_the_serving_one_cannot(self, registry, loader):
        promote(registry, 2)
        loader.broken = {1, 2}
        with pytest.raises(InvalidData, match="shop@2 are damaged"):
            VersionSupervisor(registry, "shop", loader, fallbacks=registry.list("shop")[:1])

    def test_what_answers_goes_on_if_the_last_version_is_deleted(self, supervisor, registry, caplog):
        registry.mark_erased("shop", 1, reason="A test.")
        for _ in range(3):
            settle(supervisor)
        assert answering(supervisor) == (1, None, None)
        assert len([record for record in caplog.records if "no version of shop any more" in record.getMessage()]) == 1

    def test_a_canary_that_cannot_be_loaded_gets_no_conversations(self, supervisor, registry, loader):
        loader.broken = {2}
        promote(registry, 2, "canary", 0.5)
        settle(supervisor)
        assert answering(supervisor) == (1, None, None)

    def test_it_is_tried_again_when_the_registry_changes(self, supervisor, registry, loader):
        loader.broken = {2}
        promote(registry, 2)
        settle(supervisor)
        loader.broken = set()
        registry.add(NewVersion("bank", "folder", "digest"), reason="A test.")
        settle(supervisor)
        assert answering(supervisor) == (2, None, None)

    def test_a_registry_that_cannot_be_read_changes_nothing_and_is_reported_once(self, supervisor, registry, caplog):
        promote(registry, 2, "canary", 0.5)
        settle(supervisor)
        supervisor.router.outcomes._add(2, VersionOutcomes(answers=50, errors=50))
        supervisor.router.outcomes._add(1, VersionOutcomes(answers=50))
        registry.is_broken = True
        with caplog.at_level(logging.ERROR, "turnwise.server"):
            for _ in range(5):
                supervisor.step()
        assert answering(supervisor) == (1, 2, None)
        assert len(caplog.records) == 1
        registry.is_broken = False
        supervisor.step()  # the outcomes were not lost
        assert registry.events("shop")[-1].actor == "canary_watch"

    def test_a_model_without_versions_is_an_error(self, registry, loader):
        with pytest.raises(InvalidData, match="No version of the model bank serves"):
            VersionSupervisor(registry, "bank", loader)

    def test_a_serving_version_that_cannot_be_loaded_is_an_error_at_the_start(self, registry, loader):
        loader.broken = {1}
        with pytest.raises(InvalidData, match="damaged"):
            VersionSupervisor(registry, "shop", loader)


class TestWatch:
    def test_a_bad_canary_ends_in_the_step_of_the_decision(self, supervisor, registry):
        promote(registry, 2, "canary", 0.5)
        settle(supervisor)
        supervisor.router.outcomes._add(2, VersionOutcomes(answers=10, errors=3))
        supervisor.router.outcomes._add(1, VersionOutcomes(answers=10))
        supervisor.step()
        assert answering(supervisor) == (1, None, None)
        event = registry.events("shop")[-1]
        assert (event.version, event.state, event.actor) == (2, "retired", "canary_watch")
        assert event.reason == "30.0 % (3 of 10) of its answers failed; of the serving version 0.0 % (0 of 10)."

    def test_outcomes_are_written_for_all_servers(self, supervisor, registry):
        promote(registry, 2, "canary", 0.5)
        settle(supervisor)
        registry.record_outcomes("shop", {1: VersionOutcomes(answers=9)})  # of another server
        supervisor.router.outcomes._add(1, VersionOutcomes(answers=1))
        supervisor.step()
        assert registry.outcomes("shop") == {1: VersionOutcomes(answers=10)}

    def test_it_never_promotes_and_a_new_canary_is_watched_anew(self, supervisor, registry):
        promote(registry, 2, "canary", 0.5)
        settle(supervisor)
        for _ in range(20):
            supervisor.router.outcomes._add(1, VersionOutcomes(answers=100, errors=100))
            supervisor.router.outcomes._add(2, VersionOutcomes(answers=100))
            supervisor.step()
        assert answering(supervisor) == (1, 2, None)
        assert [event.actor for event in registry.events("shop")] == ["person"] * 4


def test_the_thread_follows_the_registry_and_ends_with_the_block(registry, loader):
    with VersionSupervisor(registry, "shop", loader, poll_seconds=0.01) as supervisor:
        promote(registry, 2)
        supervisor.look_now()
        for _ in range(1000):
            if answering(supervisor)[0] == 2:
                break
            threading.Event().wait(0.01)
        assert answering(supervisor) == (2, None, None)
    assert sorted(loader.closed) == [1, 2]
