"""Runs a command in a session of its own, whose niceness also counts against the programs of other sessions.

Linux may schedule the processes of a session (a terminal, a service) as one group: the niceness of a process then
counts within its session only, and all busy sessions share the processors equally (`sched_autogroup_enabled`). A
training in a second terminal would take as much as the server in the first one, whatever its niceness. The group of a
session has a niceness too, but the terminal would keep it when the command has ended; so the command gets a session of
its own.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

GROUP = Path("/proc/self/autogroup")
ENABLED = Path("/proc/sys/kernel/sched_autogroup_enabled")
PARENT = "TURNWISE_PARENT_PROCESS"  # environment variable: the process that started this one in a session of its own
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PR_SET_PDEATHSIG = 1


def is_useful() -> bool:
    """True if sessions are scheduled as groups and this process does not lead one."""
    try:
        is_enabled = ENABLED.read_text().strip() == "1" and GROUP.exists()
    except OSError:
        return False
    return is_enabled and os.getsid(0) != os.getpid()


def run(command: Sequence[str]) -> int:
    """Run a command in a session of its own and return its exit code, 128 plus the number of a signal that ended it.

    Stop signals are passed on, so that Ctrl-C does what it would do without. The command ends with this process.
    """
    environment = {**os.environ, PARENT: str(os.getpid())}
    with subprocess.Popen(command, env=environment, start_new_session=True) as process:  # noqa: S603, the same program

        def pass_on(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
            process.send_signal(number)

        previous = {number: signal.signal(number, pass_on) for number in SIGNALS}
        try:
            code = process.wait()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def end_with_parent() -> None:
    """Let SIGTERM end this process when the one that `run` it ends, also by SIGKILL. Else nothing."""
    parent = os.environ.pop(PARENT, None)
    if parent is None or sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):  # it has ended meanwhile
        signal.raise_signal(signal.SIGTERM)


def raise_niceness(niceness: int) -> None:
    """Raise the niceness of this process to a value, and that of this session's group if the process leads it."""
    with suppress(OSError):  # a container may not allow it
        os.nice(max(0, niceness - os.nice(0)))
    if os.getsid(0) == os.getpid():
        with suppress(OSError):  # no such groups, or a container does not allow it
            GROUP.write_text(str(niceness))
