"""Runs cycles of improvement that are killed or find a full disk at random moments, and checks the disk."""

import json
import multiprocessing
import random
import re
import shutil
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from improvement_parts.disturbed_writes import BALLAST, Disturbance, current_phase, fill_disk
from improvement_parts.small_cycle import HomeState, inspect_home, register_first, run_cycle, write_home

NUM_CORRECTIONS = 12
MAX_SHARE = 0.4  # of an undisturbed cycle, after which a process is killed at the latest
MAX_KILLS_PER_CYCLE = 25  # then the cycle is left alone

_processes = multiprocessing.get_context("forkserver")  # so that a process does not import everything again


@dataclass
class Reference:
    """A cycle that was not disturbed.

    Attributes:
        first: state of the home before the cycle, with the answers of the first version.
        last: state after it.
        seconds: duration.
        writes: writes to the disk by phase.
    """

    first: HomeState
    last: HomeState
    seconds: float
    writes: Mapping[int, int]

    def random_disturbance(self, action: Literal["kill", "fill"], home: Path, rng: random.Random) -> Disturbance | None:
        """A disturbance before a random write in a random phase that is still to come; None: at a random time."""
        phases = [phase for phase in self.writes if phase >= current_phase(home)]
        if not phases or rng.random() < 0.5:
            return None
        phase = rng.choice(phases)
        return Disturbance(action, phase, rng.randint(1, self.writes[phase]))


@dataclass
class Figures:
    """What happened.

    Attributes:
        moments: number of kills or full disks by the last complete step.
        sentences: errors of the command on a full disk, with their number.
        cycles: number of complete cycles.
        max_remains: most temporary files and folders after a kill.
        errors: what was wrong.
    """

    moments: Counter[str] = field(default_factory=Counter)
    sentences: Counter[str] = field(default_factory=Counter)
    cycles: int = 0
    max_remains: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def num_moments(self) -> int:
        """Number of kills or full disks."""
        return self.moments.total()


class CycleProcess:
    """A process that runs `turnwise improve --once`.

    Attributes:
        output: file of what it prints.
    """

    def __init__(self, home: Path, output: Path, disturbance: Disturbance | None = None) -> None:
        """Start it; arguments as for `run_cycle`."""
        self.output = output
        self._process = _processes.Process(target=run_cycle, args=(home, output, disturbance))
        self._process.start()

    def wait(self, seconds: float | None = None) -> int | None:
        """Exit code, negative for a signal; None if it still runs after so many seconds."""
        self._process.join(seconds)
        return self._process.exitcode

    def kill(self) -> None:
        """Send SIGKILL and wait."""
        self._process.kill()
        self._process.join()


def prepare(folder: Path) -> tuple[Path, Reference]:
    """Write the home that all cycles begin from, and run a cycle that is not disturbed."""
    _processes.set_forkserver_preload(
        ["improvement_parts.small_cycle", "turnwise.cli.main", "turnwise.improve.open_cycle", "torch"]
    )
    template, home = folder / "template", folder / "undisturbed"
    write_home(template, NUM_CORRECTIONS)
    register_first(template)
    shutil.copytree(template, home)
    begin = time.monotonic()
    counts = folder / "counts.json"
    process = CycleProcess(home, folder / "undisturbed.txt", Disturbance("count", counts=counts))
    if process.wait():
        raise RuntimeError(process.output.read_text(encoding="utf-8"))
    seconds = time.monotonic() - begin
    first, last = (inspect_home(path, NUM_CORRECTIONS) for path in (template, home))
    writes = {int(phase): count for phase, count in json.loads(counts.read_text(encoding="utf-8")).items()}
    return template, Reference(first, last, seconds, writes)


def check(state: HomeState, reference: Reference) -> list[str]:
    """What is wrong with a home, whatever happened to its cycle."""
    errors = list(state.errors)
    expected = reference.last if state.serving == reference.last.serving else reference.first
    if (state.serving, state.digest) != (expected.serving, expected.digest):
        errors.append(f"version {state.serving} serves with other weights")
    if state.answers != expected.answers:
        errors.append(f"version {state.serving} answers with other tokens")
    if state.num_versions > reference.last.num_versions:
        errors.append(f"{state.num_versions} versions")
    return errors


def check_end(state: HomeState, reference: Reference) -> list[str]:
    """What differs from an undisturbed cycle after the end."""
    names = ("outcome", "serving", "digest", "num_versions", "num_cycles", "remains")
    return check(state, reference) + [
        f"{name} is {getattr(state, name)} and not {getattr(reference.last, name)}"
        for name in names
        if getattr(state, name) != getattr(reference.last, name)
    ]


def kill_cycles(template: Path, folder: Path, reference: Reference, kills: int, rng: random.Random) -> Figures:
    """Run cycles to their ends until so many processes were killed."""
    figures = Figures()
    while figures.num_moments < kills:
        home = folder / f"killed-{figures.cycles}"
        shutil.copytree(template, home)
        is_complete, in_cycle = False, 0
        while not is_complete:
            is_last = figures.num_moments >= kills or in_cycle >= MAX_KILLS_PER_CYCLE
            disturbance = None if is_last else reference.random_disturbance("kill", home, rng)
            is_timed = not is_last and disturbance is None
            process = CycleProcess(home, folder / "output.txt", disturbance)
            code = process.wait(rng.uniform(0, MAX_SHARE * reference.seconds) if is_timed else None)
            if code is None:
                process.kill()
            elif code > 0:
                figures.errors.append(process.output.read_text(encoding="utf-8"))
            if code is None or code < 0:
                in_cycle += 1
                state = inspect_home(home, NUM_CORRECTIONS)
                figures.moments[state.step] += 1
                figures.max_remains = max(figures.max_remains, len(state.remains))
                figures.errors += check(state, reference)
                is_complete = bool(state.outcome)  # another run would begin the next cycle
            else:
                is_complete = True
        figures.cycles += 1
        figures.errors += check_end(inspect_home(home, NUM_CORRECTIONS), reference)
        shutil.rmtree(home)
    return figures


def fill_disks(template: Path, disk: Path, reference: Reference, count: int, rng: random.Random) -> Figures:
    """Fill the disk at so many moments of cycles, and let each cycle continue with space again."""
    figures = Figures()
    while figures.num_moments < count:
        home = disk / f"full-{figures.cycles}"
        shutil.copytree(template, home)
        code: int | None = 1
        while code:
            is_last = figures.num_moments >= count
            disturbance = None if is_last else reference.random_disturbance("fill", home, rng)
            is_timed = not is_last and disturbance is None
            process = CycleProcess(home, disk.parent / "output.txt", disturbance)
            code = process.wait(rng.uniform(0, 0.8 * reference.seconds) if is_timed else None)
            if code is None:
                fill_disk(disk)
                code = process.wait()
            (disk / BALLAST).unlink(missing_ok=True)
            if code:
                state = inspect_home(home, NUM_CORRECTIONS)  # with space: SQLite needs some even to read
                figures.moments[state.step] += 1
                figures.sentences[error_sentence(process.output, disk)] += 1
                figures.errors += check(state, reference) + check_sentence(process.output)
            if code and is_last:
                figures.errors.append("a cycle cannot be completed")
                break
        figures.cycles += 1
        figures.errors += check_end(inspect_home(home, NUM_CORRECTIONS), reference)
        shutil.rmtree(home)
    return figures


def check_sentence(output: Path) -> list[str]:
    """The output of a command that ended without a clear sentence."""
    text = output.read_text(encoding="utf-8")
    return [] if last_line(output).startswith("Error: ") and "Traceback" not in text else [text]


def error_sentence(output: Path, disk: Path) -> str:
    """The last line of a command, without what differs between runs."""
    return re.sub(rf"{re.escape(str(disk))}/full-\d+", "HOME", last_line(output))


def last_line(output: Path) -> str:
    """The last line that a command printed."""
    return (output.read_text(encoding="utf-8").strip().splitlines() or [""])[-1]
