"""A cycle in a process of its own that is killed, or finds a full disk, in each of its phases, and continues."""

import shutil

import pytest

from improvement_parts.disturbed_cycles import (
    NUM_CORRECTIONS,
    CycleProcess,
    check,
    check_end,
    check_sentence,
    prepare,
)
from improvement_parts.disturbed_writes import BALLAST, Disturbance
from improvement_parts.small_cycle import inspect_home
from killed_cycles import small_disk

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The home before a cycle, and a cycle that was not disturbed."""
    return prepare(tmp_path_factory.mktemp("cycles"))


@pytest.fixture
def run_disturbed(prepared, tmp_path):
    """Disturb a cycle in the middle of each of its phases. Returns the number of disturbances.

    After each of them, what is on the disk is checked.
    """
    template, reference = prepared

    def run(action, home):
        shutil.copytree(template, home)
        count = 0
        for phase, num_writes in sorted(reference.writes.items()):
            process = CycleProcess(home, tmp_path / "output.txt", Disturbance(action, phase, (num_writes + 1) // 2))
            if not process.wait():
                return count
            count += 1
            (home.parent / BALLAST).unlink(missing_ok=True)  # SQLite needs space even to read
            state = inspect_home(home, NUM_CORRECTIONS)
            assert check(state, reference) == []
            if action == "fill":
                assert check_sentence(process.output) == []
            if state.outcome:
                return count
        assert not CycleProcess(home, tmp_path / "output.txt").wait()
        return count

    return run


def test_a_cycle_that_is_not_disturbed_promotes_a_version(prepared):
    _, reference = prepared
    assert (reference.first.serving, reference.first.num_versions) == (1, 1)
    assert (reference.last.serving, reference.last.num_versions, reference.last.outcome) == (2, 2, "promoted")
    assert reference.last.digest != reference.first.digest
    assert reference.last.remains == ()
    assert len(reference.writes) >= 6, "all phases of a cycle write to the disk"


def test_a_cycle_that_is_killed_in_each_phase_has_the_same_result(prepared, run_disturbed, tmp_path):
    home = tmp_path / "home"
    assert run_disturbed("kill", home) >= 6
    assert check_end(inspect_home(home, NUM_CORRECTIONS), prepared[1]) == []


def test_a_full_disk_in_each_phase_is_one_sentence_and_the_cycle_continues(prepared, run_disturbed, tmp_path):
    try:
        disk = small_disk(tmp_path / "disk")
        with disk as folder:
            assert run_disturbed("fill", folder / "home") >= 4
            assert check_end(inspect_home(folder / "home", NUM_CORRECTIONS), prepared[1]) == []
    except PermissionError as error:
        pytest.skip(str(error))
