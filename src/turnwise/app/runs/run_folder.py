"""The folder of a run, from which its state is read: it is the same after a restart of the server.

| file | content |
| --- | --- |
| `run.json` | what was asked for (`RunRecord`) |
| `command.json` | arguments of `turnwise`, for `run_process.py` |
| `attempt.json` | when the process was started; missing while the run waits |
| `process.json` | the process, which holds the lock of the folder as long as it lives |
| `exit.json` | exit code and time; missing if the process was killed |
| `stop` | somebody stopped the run |
| `events.jsonl`, `output.txt` | what the command has written |
| `contributors.json` | people whose rated answers are the data of the training or of its base models |
| `model/`, `report/` | the result of a training, the report of an evaluation |
"""

import json
import os
import re
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from turnwise.core.directory_lock import is_locked
from turnwise.core.errors import NotFound
from turnwise.core.files import atomic_write
from turnwise.core.runs import RunKind, RunState

RUN, COMMAND, ATTEMPT, PROCESS, EXIT, STOP = (
    "run.json", "command.json", "attempt.json", "process.json", "exit.json", "stop"
)  # fmt: skip
EVENTS, OUTPUT, RECIPE, MODEL, REPORT = "events.jsonl", "output.txt", "recipe.yaml", "model", "report"
CONTRIBUTORS = "contributors.json"  # ids of the people whose rated answers are the data
REPORT_FILE = "report.html"
START_SECONDS = 30.0  # until a started process has the lock
STOP_CODES = tuple(128 + number for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM))
MAX_REASON_CHARS = 500
_ERROR = re.compile(r"^Error: (.+)$", re.MULTILINE)
_MAX_OUTPUT = 2**16  # bytes at the end of the output in which an error is looked for


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What was asked for; see `core.runs.Run`."""

    kind: RunKind
    title: str
    created: float
    options: Mapping[str, Any] = field(default_factory=dict)


class RunFolder:
    """Reads and changes the folder of a run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def id(self) -> str:
        """The name of the folder."""
        return self.path.name

    @property
    def model(self) -> Path:
        """Folder of the trained model, which exists when it is complete."""
        return self.path / MODEL

    @property
    def report(self) -> Path:
        """File of the report."""
        return (self.model if self.record().kind == "training" else self.path) / REPORT / REPORT_FILE

    @property
    def has_model(self) -> bool:
        """True if the training has written its model."""
        return any((self.model / name).is_file() for name in ("config.json", "adapter_config.json"))

    def record(self) -> RunRecord:
        """What was asked for. Raises `NotFound` if the folder is damaged, or deleted meanwhile."""
        try:
            return RunRecord(**json.loads((self.path / RUN).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise NotFound(f"There is no run '{self.id[:60]}'.") from error

    def contributors(self) -> Sequence[str]:
        """Ids of the people whose rated answers it learns from, also by its base model."""
        try:
            return [str(person) for person in json.loads((self.path / CONTRIBUTORS).read_text(encoding="utf-8"))]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def add_contributors(self, people: Iterable[str]) -> None:
        """Record more of them, before their data are written."""
        if everybody := sorted({*self.contributors(), *people}):
            (self.path / CONTRIBUTORS).write_text(json.dumps(everybody, ensure_ascii=False), encoding="utf-8")

    @staticmethod
    def write_new(folder: Path, record: RunRecord, command: Sequence[str]) -> None:
        """Write the files of a new run into an empty folder."""
        (folder / COMMAND).write_text(json.dumps(list(command)), encoding="utf-8")
        (folder / RUN).write_text(json.dumps(asdict(record), ensure_ascii=False), encoding="utf-8")

    @property
    def is_waiting(self) -> bool:
        """True if it has neither been started nor stopped. Cheaper than `state`."""
        return not any((self.path / name).exists() for name in (ATTEMPT, EXIT, STOP))

    @property
    def is_stopping(self) -> bool:
        """True if somebody stopped it."""
        return (self.path / STOP).exists()

    def state(self) -> RunState:
        """The present state."""
        state = self._state()
        return self._state() if state == "failed" else state  # it may have started between two of the checks

    def _state(self) -> RunState:
        if is_locked(self.path):
            return "running"
        code = self._read(EXIT).get("code")
        if code == 0 or self.has_model:
            return "complete"
        if self.is_stopping or code in STOP_CODES:
            return "stopped"
        if code is not None:
            return "failed"
        attempt = self._read(ATTEMPT)
        if not attempt:
            return "waiting"
        is_starting = not (self.path / PROCESS).exists() and time.time() - attempt["started"] < START_SECONDS
        return "running" if is_starting else "failed"

    def reason(self, state: RunState) -> str:
        """Why the run failed, or what a complete one lacks, as a sentence; else empty."""
        code = self._read(EXIT).get("code")
        if state == "complete" and code != 0:
            return "The model is complete. The process ended during the comparison with the base model."
        if state != "failed":
            return ""
        if (message := self.error()) is not None and code is not None:
            return message
        if code is None:
            return "The process was killed, for example because memory ran out."
        return f"The command ended with the exit code {code}; the last lines of {OUTPUT} say more."

    def error(self) -> str | None:
        """The last error in the output."""
        return last_error(self.path / OUTPUT)

    def times(self, state: RunState) -> tuple[float | None, float | None]:
        """Unix time of the last start and of the end; None if it has not started or ended."""
        started, ended = self._read(ATTEMPT).get("started"), self._read(EXIT).get("ended")
        if ended is None and state in ("stopped", "failed", "complete") and started is not None:
            with suppress(OSError):
                ended = max(started, (self.path / OUTPUT).stat().st_mtime)
        return started, ended if state in ("stopped", "failed", "complete") else None

    def mark_started(self) -> None:
        """Record that a process is being started. Raises `SaveFailed`."""
        for name in (EXIT, PROCESS):
            (self.path / name).unlink(missing_ok=True)
        atomic_write(self.path / ATTEMPT, json.dumps({"started": time.time()}))

    def mark_process(self) -> None:
        """Record that this process runs the command. It holds the lock."""
        atomic_write(self.path / PROCESS, json.dumps({"pid": os.getpid(), "started": time.time()}))

    def mark_ended(self, code: int) -> None:
        """Record the exit code."""
        atomic_write(self.path / EXIT, json.dumps({"code": code, "ended": time.time()}))

    def mark_waiting(self) -> None:
        """Let a run that has ended wait for its turn again."""
        for name in (EXIT, STOP, PROCESS, ATTEMPT):  # the last one decides
            (self.path / name).unlink(missing_ok=True)

    def stop(self, patience: float) -> None:
        """Ask the process to end with a checkpoint. A call that is repeated after `patience` seconds kills it."""
        marker = self.path / STOP
        try:
            is_late = time.time() - marker.stat().st_mtime >= patience
        except FileNotFoundError:
            is_late = False
            atomic_write(marker, "")
        pid = self._read(PROCESS).get("pid")
        if isinstance(pid, int) and is_locked(self.path):  # as long as it holds the lock, the id is that of the process
            with suppress(ProcessLookupError):
                if is_late:
                    os.killpg(pid, signal.SIGKILL)  # it leads its session
                else:
                    os.kill(pid, signal.SIGTERM)

    def _read(self, name: str) -> dict[str, Any]:
        try:
            values = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}


def last_error(output: Path) -> str | None:
    """The last line "Error: …" of the output of a command, without "Error: "."""
    try:
        with output.open("rb") as file:
            file.seek(max(0, output.stat().st_size - _MAX_OUTPUT))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return None
    lines = _ERROR.findall(text)
    if not lines:
        return None
    return "".join(c if c.isprintable() else "\ufffd" for c in lines[-1].strip())[:MAX_REASON_CHARS]
