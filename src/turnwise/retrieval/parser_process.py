"""Parses documents in a process of its own, with limits on memory and time.

Libraries that read documents crash, hang or take all memory for some files, PDFium is not thread-safe, and a document
may be made to attack them. So one process parses one document after another. If it dies, the document gets an error,
and the next document a new process. The process never imports torch.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from turnwise.core.errors import InvalidData, Unavailable
from turnwise.retrieval.frames import ACCEPTED, FrameReader, InvalidFrame, write_frame
from turnwise.retrieval.parsed_document import Block, ParsedDocument
from turnwise.retrieval.parsing.limits import MAX_CPU_SECONDS, MAX_MEMORY_BYTES, MAX_SECONDS

WORKER = "turnwise.retrieval.parser_worker"
MAX_DOCUMENTS = 500  # of one process; libraries leak a little
MAX_NAME_CHARACTERS = 120  # in messages
EXIT_SECONDS = 5.0
START_SECONDS = 60.0  # for the imports on a busy machine: until the first request is accepted, and its first reply
_CPU_SIGNALS = {signal.SIGXCPU}


class UnreadableDocument(InvalidData):
    """A document cannot be read; the message names it and says why."""

    code = "unreadable_document"


@dataclass(frozen=True, slots=True)
class ParserLimits:
    """Limits of the parser process.

    Attributes:
        memory_bytes: address space of the process. Python and the libraries take about 160 MB of it.
        cpu_seconds: processor time of one document.
        seconds: time that one document may take. Time in which nobody asks for its next blocks does not count.
    """

    memory_bytes: int = MAX_MEMORY_BYTES
    cpu_seconds: int = MAX_CPU_SECONDS
    seconds: float = MAX_SECONDS


class ParsedStream:
    """A document that is being parsed: iterate over batches of its blocks, then read the title and the warnings.

    Attributes:
        title: title by the document's own metadata or first heading; empty before the last batch.
        warnings: sentences about what was not read; empty before the last batch.
        is_complete: True after the last batch.
    """

    def __init__(self, worker: "_Worker", name: str, limits: ParserLimits) -> None:
        self.title = ""
        self.warnings: Sequence[str] = ()
        self.is_complete = False
        self._worker, self._name, self._limits = worker, name, limits
        self._seconds_left = limits.seconds + (START_SECONDS if worker.num_documents <= 1 else 0)

    def __iter__(self) -> Iterator[list[Block]]:
        """Yield batches of blocks in reading order. Raises `UnreadableDocument`."""
        while not self.is_complete:
            reply = self._read()
            if "error" in reply:
                memory_error = f"It needs more than {self._limits.memory_bytes / 1e9:.1f} GB of memory."
                self.is_complete = not reply.get("is_memory_error")  # otherwise the process is not used again
                raise self._unreadable(memory_error if reply.get("is_memory_error") else str(reply["error"]))
            if "blocks" in reply:
                yield [Block(kind, text, level, page) for kind, text, level, page in reply["blocks"]]
            else:
                self.title, self.warnings, self.is_complete = reply["title"], tuple(reply["warnings"]), True

    def _read(self) -> dict[str, Any]:
        started = time.monotonic()
        try:
            return self._worker.read(max(0.0, self._seconds_left))
        except TimeoutError:
            raise self._unreadable(f"It takes more than {self._limits.seconds:g} seconds to parse.") from None
        except (EOFError, InvalidFrame, OSError):
            raise self._unreadable(self._death()) from None
        finally:
            self._seconds_left -= time.monotonic() - started

    def _death(self) -> str:
        """Why the process has died, as a sentence about the document."""
        status = self._worker.wait()
        if -status in _CPU_SIGNALS:
            return f"It takes more than {self._limits.cpu_seconds:g} seconds of processor time to parse."
        with suppress(ValueError):
            reason = signal.Signals(-status).name
            memory = f"{self._limits.memory_bytes / 1e9:.1f} GB"
            return f"Its parser crashed ({reason}). It may be damaged, or need more than {memory} of memory."
        return f"Its parser ended unexpectedly (exit status {status})."

    def _unreadable(self, sentence: str) -> UnreadableDocument:
        return UnreadableDocument(f"'{self._name}' cannot be read. {sentence}")


class ParserProcess:
    """Parses documents in a process of its own. Thread-safe: documents wait for each other.

    Use it as a context manager, or call `close`.

    Args:
        limits: limits of the process.
    """

    def __init__(self, limits: ParserLimits | None = None) -> None:
        self._limits = limits or ParserLimits()
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self._is_closed = False

    @contextmanager
    def open(self, path: Path, name: str | None = None) -> Iterator[ParsedStream]:
        """Parse a document batch by batch. Other threads wait until the context is left.

        Args:
            path: the file.
            name: file name of the document, if `path` has another.

        Raises:
            UnreadableDocument: in the iteration.
            Unavailable: this object is closed.
        """
        shown = "".join(character if character.isprintable() else " " for character in name or Path(path).name)
        with self._lock:
            worker = self._send({"path": str(Path(path).absolute()), "name": name or Path(path).name})
            stream = ParsedStream(worker, shown[:MAX_NAME_CHARACTERS], self._limits)
            try:
                yield stream
            finally:
                if not stream.is_complete or worker.num_documents >= MAX_DOCUMENTS:
                    self._worker = None
                    worker.kill()

    def parse(self, path: Path, name: str | None = None) -> ParsedDocument:
        """Parse a document that fits in memory. Arguments and errors are those of `open`."""
        with self.open(path, name) as stream:
            blocks = [block for batch in stream for block in batch]
        return ParsedDocument(blocks, stream.title, stream.warnings)

    def close(self) -> None:
        """End the process, also while another thread waits for blocks; that thread gets an error."""
        self._is_closed = True
        if (worker := self._worker) is None:
            return
        worker.stop()
        if self._lock.acquire(blocking=False):  # otherwise the thread that has it closes the pipes
            try:
                worker.kill()
            finally:
                self._lock.release()

    def __enter__(self) -> "ParserProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_worker", None) is not None:
            self.close()

    def _send(self, request: dict[str, str]) -> "_Worker":
        """Send a request to the process, or to a new one if it has died since the last document.

        A process that was killed a moment ago may still look alive and its pipe may still take a request, so only the
        acceptance of the request proves that the process is there.
        """
        for _ in range(2):
            if self._is_closed:
                raise Unavailable("The parser of documents is closed.")
            worker = self._worker
            if worker is None or not worker.is_alive():
                if worker is not None:
                    worker.kill()
                worker = self._worker = _Worker(self._limits)
            try:
                worker.send(request)
            except (OSError, EOFError, InvalidFrame):  # a TimeoutError is an OSError
                worker.kill()
                self._worker = None
            else:
                return worker
        raise Unavailable("The process that parses documents cannot be started.")


class _Worker:
    """The running process and the pipes to it."""

    def __init__(self, limits: ParserLimits) -> None:
        self.num_documents = 0
        # The child finds the same packages, also those that this process has added to its path.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(  # noqa: S603, this program
            [sys.executable, "-P", "-m", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            bufsize=0,
            start_new_session=True,  # Ctrl-C reaches the parent only
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        self._reader = FrameReader(self._output.fileno())
        with suppress(OSError):  # reported by the first request
            write_frame(self._input.fileno(), {"memory_bytes": limits.memory_bytes, "cpu_seconds": limits.cpu_seconds})

    def is_alive(self) -> bool:
        """True unless the process has ended."""
        return self._process.poll() is None

    def send(self, request: dict[str, str]) -> None:
        """Send a request and wait until it is accepted. Raises `OSError`, `EOFError` or `InvalidFrame` otherwise."""
        write_frame(self._input.fileno(), request)
        if self._reader.read(START_SECONDS) != ACCEPTED:
            raise InvalidFrame("a request that is not accepted")
        self.num_documents += 1

    def read(self, seconds: float) -> dict[str, Any]:
        """The next reply. Raises as `FrameReader.read` does."""
        return cast(dict[str, Any], self._reader.read(seconds))

    def wait(self) -> int:
        """Exit status of a process that has closed its pipe; negative: the number of a signal."""
        try:
            return self._process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def stop(self) -> None:
        """End the process. It has nothing to save."""
        self._process.kill()

    def kill(self) -> None:
        """End the process and close the pipes. Not for a thread beside one that reads from them."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._input, self._output):
            with suppress(OSError):
                pipe.close()
