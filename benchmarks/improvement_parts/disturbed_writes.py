"""Disturbs a process at an exact moment: before a given write to the disk in a given phase of a cycle of improvement.

The phase is the number of times that the journal of the cycle has been written: 0 before the cycle, 1 while the
feedback is selected, and so on. Only writes of Python code are seen, not those of SQLite and of Rust.
"""

import json
import os
import signal
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from turnwise.improve.journal import JOURNAL_FILE

WRITING_EVENTS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir")
BALLAST = "ballast"


@dataclass(frozen=True)
class Disturbance:
    """What happens to a process.

    Attributes:
        action: SIGKILL; fill the disk of the home; or only count the writes, into the file `counts`.
        phase: phase of the cycle.
        write: number of the write in this phase and process, from 1 on.
        counts: file for the number of writes by phase.
    """

    action: Literal["kill", "fill", "count"]
    phase: int = 0
    write: int = 0
    counts: Path | None = None


def current_phase(home: Path) -> int:
    """How often the journal of the last cycle was written."""
    journals = sorted(home.glob(f"improve/*/cycles/*/{JOURNAL_FILE}"))
    if not journals:
        return 0
    values = json.loads(journals[-1].read_text(encoding="utf-8"))
    return 1 + len(values["steps"]) + ("outcome" in values)


def disturb(home: Path, disturbance: Disturbance) -> None:
    """Let the disturbance happen to this process."""
    phase, prefix, counts, is_active = current_phase(home), str(home), Counter[int](), True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal phase, is_active
        if not is_active or not _is_write(event, arguments, prefix):
            return
        counts[phase] += 1
        if (phase, counts[phase]) == (disturbance.phase, disturbance.write):
            is_active = False
            if disturbance.action == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif disturbance.action == "fill":
                fill_disk(home.parent)
        elif event == "os.rename" and Path(arguments[1]).name == JOURNAL_FILE:
            phase += 1
            if disturbance.counts is not None:
                is_active = False
                disturbance.counts.write_text(json.dumps(counts), encoding="utf-8")
                is_active = True

    sys.addaudithook(hook)


def _is_write(event: str, arguments: tuple[Any, ...], prefix: str) -> bool:
    is_write = event in WRITING_EVENTS or (
        event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))
    )
    return is_write and any(str(argument).startswith(prefix) for argument in arguments[:2])


def fill_disk(disk: Path) -> Path:
    """Write a file until the disk is full, and return it."""
    ballast, size = disk / BALLAST, 2**20
    with ballast.open("ab", buffering=0) as file:
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
    return ballast
