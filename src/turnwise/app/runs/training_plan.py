"""What a training would do: a dry run of its command, in a process of its own."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from turnwise.app.runs.run_commands import training_command
from turnwise.app.runs.run_folder import EVENTS, OUTPUT, last_error
from turnwise.app.runs.run_queue import run_environment
from turnwise.core.errors import Unavailable, UserError
from turnwise.core.event_log import read_events

POLL_SECONDS = 0.1
PLAN_SECONDS = 300.0  # a plan reads all data and measures the speed


def plan_command(folder: Path) -> list[str]:
    """The command of a dry run of the recipe in a folder."""
    return [sys.executable, "-P", "-m", "turnwise", *training_command(folder), "--dry-run"]


def run_plan(
    folder: Path, threads: int, is_stopped: threading.Event, seconds: float = PLAN_SECONDS
) -> Mapping[str, Any]:
    """Make a dry run of the recipe in a folder.

    Args:
        folder: the folder.
        threads: processor threads.
        is_stopped: when it is set, the dry run ends.
        seconds: time limit.

    Returns:
        The values of the events `data` and `plan`.

    Raises:
        UserError: the model or the data cannot be used, as a sentence.
        Unavailable: it took too long, or was stopped, or the process was killed.
    """
    with (folder / OUTPUT).open("wb") as output:
        process = subprocess.Popen(  # noqa: S603, this program
            plan_command(folder), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True, cwd=folder, env=run_environment(threads),
        )  # fmt: skip
        deadline = time.monotonic() + seconds
        try:
            while process.poll() is None:
                if time.monotonic() > deadline:
                    raise Unavailable(
                        f"The plan took more than {seconds / 60:.0f} minutes. The training can be started without it."
                    )
                if is_stopped.wait(POLL_SECONDS):
                    raise Unavailable("The server is being stopped.")
            code = process.returncode
        finally:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            process.wait()
    if code and (message := last_error(folder / OUTPUT)) is not None:
        raise UserError(message)
    if code:
        raise Unavailable(f"The plan ended with the exit code {code}. The log of the server may say more.")
    events, _ = read_events(folder / EVENTS)
    plan: dict[str, Any] = {}
    for event in events:
        if event["event"] in ("data", "plan"):
            plan |= {name: value for name, value in event.items() if name not in ("event", "time")}
    return plan
