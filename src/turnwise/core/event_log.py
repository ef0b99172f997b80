"""Events of a command as JSON lines, which other programs read while it runs."""

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

SECONDS = 0.5  # between two events of a progress


class EventLog:
    """Appends events to a file. Each line has the name of the event, its time and its values.

    The file is opened with the first event. A line that a killed process left incomplete is ended first.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None
        self._last_progress = -math.inf

    def write(self, event: str, **values: Any) -> None:
        """Write an event. Numbers that are not finite become null.

        Raises:
            OSError: the file cannot be written.
        """
        if self._file is None:
            self._file = self._open()
        line = {"event": event, "time": round(time.time(), 3), **_finite(values)}
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()

    def write_progress(self, event: str, done: int, total: int, **values: Any) -> None:
        """Write an event with `done` of `total` items, at most one in `SECONDS` and the last one."""
        now = time.monotonic()
        if now - self._last_progress >= SECONDS or done >= total:
            self._last_progress = now
            self.write(event, done=done, total=total, **values)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> TextIO:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("a+", encoding="utf-8")
        content = self._path.stat().st_size
        with self._path.open("rb") as reader:
            reader.seek(max(0, content - 1))
            if reader.read(1) not in (b"", b"\n"):
                file.write("\n")
        return file


@contextmanager
def open_event_log(path: Path | None) -> Iterator[EventLog | None]:
    """Yield a log, which is closed when the block ends. None yields None."""
    log = None if path is None else EventLog(path)
    try:
        yield log
    finally:
        if log is not None:
            log.close()


def read_events(path: Path, start: int = 0, max_bytes: int = 2**18) -> tuple[list[Mapping[str, Any]], int]:
    """Read complete lines from a position on.

    Args:
        path: the file; it need not exist.
        start: position in bytes, the end of an earlier call.
        max_bytes: at most so much is read; a longer line is skipped.

    Returns:
        The events, and the position after them. Lines that are not events are left out.
    """
    try:
        with path.open("rb") as file:
            file.seek(start)
            content = file.read(max_bytes)
    except OSError:
        return [], start
    end = content.rfind(b"\n") + 1
    if not end and len(content) == max_bytes:
        end = max_bytes
    events = (_parse(line) for line in content[:end].splitlines())
    return [event for event in events if event is not None], start + end


def _parse(line: bytes) -> Mapping[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    return [_finite(entry) for entry in value] if isinstance(value, list | tuple) else value
