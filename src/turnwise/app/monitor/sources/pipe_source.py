"""Lines of a pipe, such as standard input."""

import os
import queue
import threading
from contextlib import suppress

from turnwise.app.monitor.sources.file_lines import MAX_LINE
from turnwise.app.monitor.sources.text_records import TextRecords
from turnwise.core.stream_texts import Position, SourceBatch, StreamText

QUEUED_LINES = 1000
_BLOCK = 2**16


class PipeSource:
    """Reads lines of a pipe as they arrive.

    A pipe cannot be read again: lines that were read and not stored when the program is killed are lost. Lines that the
    store did not accept are returned again. Lines without an id get one from their number and the number of the start.

    Args:
        descriptor: file descriptor of the pipe.
        records: makes texts of lines.
        name: name of the source.
    """

    def __init__(self, descriptor: int, records: TextRecords, name: str) -> None:
        self.name = name
        self._descriptor, self._records = descriptor, records
        self._queue: queue.Queue[bytes | None] = queue.Queue(QUEUED_LINES)
        self._start: int | None = None
        self._num_lines = 0
        self._unconfirmed: SourceBatch | None = None
        self._is_finished = False
        # A thread reads the descriptor itself: one that waits in sys.stdin would hold a lock that Python needs to exit.
        self._thread = threading.Thread(target=self._read_lines, daemon=True, name="monitor-pipe")

    def read(self, position: Position | None, limit: int) -> SourceBatch:
        """Return up to `limit` texts that have arrived."""
        if self._start is None:
            self._start = int((position or {}).get("start", 0)) + 1
            self._thread.start()
        if self._unconfirmed is None:
            self._unconfirmed = self._next_batch(limit)
        return self._unconfirmed

    def confirm(self, position: Position) -> None:
        """Forget the texts before `position`."""
        if self._unconfirmed is not None and self._unconfirmed.position == position:
            self._unconfirmed = None

    def close(self) -> None:
        """Do nothing: the thread ends with the pipe or the program."""

    def _next_batch(self, limit: int) -> SourceBatch:
        texts: list[StreamText] = []
        num_malformed = 0
        with suppress(queue.Empty):
            while len(texts) < limit and not self._is_finished:
                line = self._queue.get_nowait()
                if line is None:
                    self._is_finished = True
                    break
                self._num_lines += 1
                if len(line) <= MAX_LINE and not line.strip():
                    continue
                place_id = f"{self.name}\n{self._start}\n{self._num_lines}"
                text = self._records.parse_line(line, place_id) if len(line) <= MAX_LINE else None
                if text is None:
                    num_malformed += 1
                else:
                    texts.append(text)
        position = {"start": self._start, "lines": self._num_lines}
        has_more = not self._is_finished and not self._queue.empty()
        return SourceBatch(tuple(texts), position, has_more, self._is_finished, num_malformed)

    def _read_lines(self) -> None:
        """Put every line into the queue, then None."""
        rest = b""
        with suppress(OSError):
            while block := os.read(self._descriptor, _BLOCK):
                *lines, rest = (rest + block).split(b"\n")
                for line in lines:
                    self._queue.put(line)
                rest = rest[: MAX_LINE + 1]  # one byte too many marks a line that is too long
        if rest:
            self._queue.put(rest)
        self._queue.put(None)
