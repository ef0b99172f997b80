"""The clock that notices when it was set forward."""

import pytest

from stepped_clock import SteppedClock


@pytest.fixture
def machine():
    return SteppedClock()


def test_a_step_forward_is_noticed_until_it_is_handled(machine):
    clock = machine.wall_clock()
    machine.set(5000)
    assert clock.now() == 5000
    first = clock.unhandled_step
    assert first == clock.unhandled_step != 0
    clock.mark_handled(first)
    assert clock.unhandled_step == 0
    machine.set(9000)
    clock.now()
    assert clock.unhandled_step not in (0, first)


def test_a_step_that_happens_meanwhile_is_not_marked_as_handled(machine):
    clock = machine.wall_clock()
    machine.set(5000)
    clock.now()
    first = clock.unhandled_step
    machine.set(9000)
    clock.now()
    clock.mark_handled(first)
    assert clock.unhandled_step != 0


@pytest.mark.parametrize("step", [-4000, -1, 0, 4])
def test_time_that_passes_steps_back_and_small_corrections_are_no_steps(machine, step):
    clock = machine.wall_clock()
    machine.pass_time(100_000)
    machine.set(machine.now + step)
    assert clock.now() == machine.now
    assert clock.unhandled_step == 0
