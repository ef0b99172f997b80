"""Random histories of model versions: what holds after every operation of any actor, and after SIGKILL."""

import random
import signal
import sqlite3
import subprocess
import sys
from bisect import bisect_right
from contextlib import closing, suppress

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from turnwise.core.errors import NotFound, TurnwiseError, VersionConflict
from turnwise.core.model_versions import ALLOWED_STATES, TRANSITIONS, NewVersion, VersionOutcomes
from turnwise.core.version_rules import ROLLS_BACK, serving_stack
from turnwise.store import open_model_registry
from turnwise.store.sqlite.version_store import SqliteModelRegistry

MODELS = ("assistant", "coder")
STATES = tuple(TRANSITIONS)
ACTORS = tuple(ALLOWED_STATES)


def replayed_states(events):
    """State and share of every version, computed from the events of one model."""
    states = {}
    for event in events:
        assert states.get(event.version, (None, 0.0))[0] == event.previous, "an event continues the one before"
        states[event.version] = (event.state, event.share)
    return states


def check_history(registry):
    """What holds for every registry at any time."""
    for model in registry.models():
        versions, events = registry.list(model), registry.events(model)
        states = [version.state for version in versions]
        by_number = {version.number: version for version in versions}
        assert states.count("serving") <= 1
        assert states.count("canary") <= 1
        assert states.count("shadow") <= 1
        assert [version.number for version in versions] == list(range(1, len(versions) + 1))
        assert replayed_states(events) == {version.number: (version.state, version.share) for version in versions}
        assert all((0 < version.share < 1) == (version.state == "canary") for version in versions)
        assert all(version.state == "retired" for version in versions if version.is_erased)
        assert [event.time for event in events] == sorted(event.time for event in events)
        routing = registry.routing(model)
        assert registry.serving_at(model, events[-1].time) == (None if routing is None else routing.serving)
        if routing is None:  # the weights of all that ever served were deleted
            assert all(by_number[number].is_erased for number in serving_stack(events))
    all_events = registry.events()
    numbers = [event.number for event in all_events]
    assert numbers == sorted(set(numbers))
    assert registry.revision() == (numbers[-1] if numbers else 0)


class Histories(RuleBasedStateMachine):
    """Operations of random actors on a registry, beside a naive model of who served when."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.registry = SqliteModelRegistry(None, lambda: self.now)
        self.served = {model: [] for model in MODELS}  # (time, number), oldest first
        self.num_events = 0

    @initialize()
    def add_versions(self):
        for passed in (True, False, True, False):
            self.add("assistant", passed)

    def teardown(self):
        self.registry.close()

    @rule(seconds=st.integers(0, 3))
    def pass_time(self, seconds):
        self.now += seconds

    @rule(model=st.sampled_from(MODELS), passed=st.booleans())
    @precondition(lambda self: len(self.registry.list("assistant")) < 7)
    def add(self, model, passed):
        self.registry.add(NewVersion(model, "s", "d", has_passed_gate=passed), reason="r")

    @rule(
        model=st.sampled_from(MODELS), number=st.integers(1, 5), state=st.sampled_from(STATES),
        actor=st.sampled_from(ACTORS), share=st.sampled_from([0.0, 0.1, 0.5]),
    )  # fmt: skip
    def change(self, model, number, state, actor, share):
        before = self.registry.list(model)
        try:
            changed = self.registry.change_state(model, number, state, actor=actor, reason="r", share=share)
        except TurnwiseError:
            assert self.registry.list(model) == before
            return
        previous = before[number - 1]
        assert (changed.state, changed.share) == (state, share)
        assert state in TRANSITIONS[previous.state]
        assert state in ALLOWED_STATES[actor]
        assert not previous.is_erased
        if actor == "gate" and state != "retired":
            assert changed.content.has_passed_gate
        if actor == "canary_watch":
            assert previous.state == "canary"

    @rule(number=st.integers(1, 5), actor=st.sampled_from(["person", "gate"]))
    def promote(self, number, actor):
        self.change("assistant", number, "serving", actor, 0.0)

    @rule(model=st.sampled_from(MODELS), actor=st.sampled_from(ACTORS))
    def roll_back(self, model, actor):
        before = self.registry.routing(model)
        with suppress(TurnwiseError):
            version = self.registry.roll_back(model, actor=actor, reason="r")
            assert actor in ROLLS_BACK
            assert not version.is_erased
            assert version.number in [number for _, number in self.served[model]]
            assert before is None or version.number != before.serving.number
            assert version == self.registry.routing(model).serving

    @rule(model=st.sampled_from(MODELS))
    def roll_back_until_nothing_is_left(self, model):
        visited = set()
        with suppress(VersionConflict, NotFound):
            while True:
                number = self.registry.roll_back(model, actor="person", reason="r").number
                assert number not in visited, "a roll-back never returns to a version that was left"
                visited.add(number)

    @rule(model=st.sampled_from(MODELS), number=st.integers(1, 4))
    def erase(self, model, number):
        with suppress(TurnwiseError):
            assert self.registry.mark_erased(model, number, reason="r").is_erased

    @rule(model=st.sampled_from(MODELS))
    def record(self, model):
        if routing := self.registry.routing(model):
            before = self.registry.outcomes(model).get(routing.serving.number, VersionOutcomes())
            self.registry.record_outcomes(model, {routing.serving.number: VersionOutcomes(answers=1)})
            after = self.registry.outcomes(model)[routing.serving.number]
            assert after == before + VersionOutcomes(answers=1)

    @invariant()
    def the_history_is_consistent(self):
        events = self.registry.events()
        for event in events[self.num_events :]:
            if event.state == "serving":
                self.served[event.model].append((event.time, event.version))
        self.num_events = len(events)
        check_history(self.registry)


Histories.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestHistories = pytest.mark.costly(Histories.TestCase)


@pytest.mark.costly
def test_serving_at_agrees_with_a_list_at_ten_thousand_times():
    rng, now = random.Random(0), [0.0]
    registry = SqliteModelRegistry(None, lambda: now[0])
    times, numbers = [], []
    for _ in range(200):
        now[0] += rng.choice([0.0, 0.5, 1.0, 100.0, -3.0])
        model = rng.choice(MODELS)
        with suppress(VersionConflict):
            if rng.random() < 0.3 or not registry.list(model):
                registry.add(NewVersion(model, "s", "d"), reason="r")
            elif rng.random() < 0.2:
                registry.roll_back(model, actor="person", reason="r")
            else:
                number = rng.randint(1, len(registry.list(model)))
                registry.change_state(model, number, "serving", actor="person", reason="r")
        routing = registry.routing("assistant")
        if routing is not None and (not numbers or routing.serving.number != numbers[-1]):
            times.append(registry.events("assistant")[-1].time)
            numbers.append(routing.serving.number)
    assert len(set(numbers)) > 10
    for _ in range(10_000):
        time = rng.choice(times) if rng.random() < 0.2 else rng.uniform(-10.0, times[-1] + 10.0)
        position = bisect_right(times, time) - 1
        served = registry.serving_at("assistant", time)
        assert (None if served is None else served.number) == (numbers[position] if position >= 0 else None)
    registry.close()


WRITER = """
import random, sys
from turnwise.core.errors import TurnwiseError
from turnwise.core.model_versions import NewVersion, VersionOutcomes
from turnwise.store import open_model_registry

registry, rng = open_model_registry(sys.argv[1]), random.Random(int(sys.argv[2]))
while True:
    model = rng.choice(["assistant", "coder"])
    numbers = [version.number for version in registry.list(model)]
    try:
        if len(numbers) < 2 or rng.random() < 0.1:
            registry.add(NewVersion(model, "s", "d"), reason="r")
        elif rng.random() < 0.2:
            registry.roll_back(model, actor="person", reason="r")
        elif rng.random() < 0.2:
            registry.record_outcomes(model, {numbers[0]: VersionOutcomes(answers=1)})
        else:
            state = rng.choice(["candidate", "shadow", "canary", "serving", "retired"])
            share = 0.1 if state == "canary" else 0.0
            registry.change_state(model, rng.choice(numbers), state, actor="person", reason="r", share=share)
    except TurnwiseError:
        pass
    print(registry.revision(), flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_writer_leaves_a_consistent_file_with_every_acknowledged_change(tmp_path):
    path, rng = tmp_path / "versions.db", random.Random(0)
    revision = 0
    for seed in range(6):
        commands = [[sys.executable, "-c", WRITER, f"sqlite:///{path}", str(10 * seed + i)] for i in range(2)]
        writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
        acknowledged = [revision]
        for writer in writers:
            acknowledged += [int(writer.stdout.readline()) for _ in range(rng.randint(5, 40))]
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            acknowledged += map(int, writer.stdout.read().split())
            writer.stdout.close()
            assert writer.wait() == -signal.SIGKILL
        registry = open_model_registry(f"sqlite:///{path}")
        assert registry.revision() >= max(acknowledged) > revision
        check_history(registry)
        revision = registry.revision()
        registry.close()
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
