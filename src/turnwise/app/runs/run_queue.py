"""Starts the runs that wait, in the order in which they were created."""

import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from turnwise.app.runs.run_folder import OUTPUT, RUN, START_SECONDS, RunFolder
from turnwise.core.directory_lock import DirectoryLocked, is_locked, lock_directory
from turnwise.core.errors import Unavailable

POLL_SECONDS = 1.0  # between two looks at the line: a run of another server may end
LOCK_SECONDS = 5.0
NICENESS = 10  # of a run, as of a cycle of improvement: chats on the same machine stay fast
QUEUE = ".queue"  # folder whose lock is held by whoever changes the state of a run
DELETED, PLAN = ".deleted-", ".plan-"  # names of folders that are being deleted, and of plans, begin so
PARTIAL_SUFFIX = ".part"  # names of folders that are being written end so
MAX_PLAN_AGE = 3600.0  # seconds after which no process uses the folder of a plan any more

_PROCESSES: list[subprocess.Popen[bytes]] = []  # started here and not awaited yet; they outlive their queue

log = logging.getLogger("turnwise.runs")


@contextmanager
def lock_runs(root: Path) -> Iterator[None]:
    """Hold the lock that changes of the runs below a folder need. Raises `Unavailable` if another process keeps it."""
    deadline = time.monotonic() + LOCK_SECONDS
    lock = lock_directory(root / QUEUE)
    while True:
        try:
            lock.__enter__()
            break
        except DirectoryLocked:
            if time.monotonic() > deadline:
                raise Unavailable("Another process is starting a run. Try again soon.") from None
            time.sleep(0.05)
            lock = lock_directory(root / QUEUE)
    try:
        yield
    finally:
        lock.__exit__(None, None, None)


class RunQueue:
    """The line of the runs below a folder. Servers that share the folder share the line.

    Runs go on when the queue is closed. Those that wait are started by the next server.
    """

    def __init__(
        self, root: Path, *, num_parallel: int, threads: int, niceness: int, program: str = "turnwise"
    ) -> None:
        """Open the line.

        Args:
            root: folder of all runs.
            num_parallel: runs at the same time.
            threads: processor threads of a run.
            niceness: niceness of its process, from 0 to 19.
            program: module that the commands are for.
        """
        self.root = root
        self._num_parallel, self._threads, self._niceness = num_parallel, threads, niceness
        self._program, self._failure = program, ""
        self._wake, self._is_closed = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="turnwise-runs", daemon=True)

    def start(self) -> None:
        """Start runs as long as the queue is open."""
        self._thread.start()

    def close(self) -> None:
        """Start no more runs."""
        self._is_closed = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def wake(self) -> None:
        """Look at the line now."""
        self._wake.set()

    def folders(self) -> list[RunFolder]:
        """The folders of all runs, oldest first."""
        paths = self.root.glob(f"[0-9]*/{RUN}")
        return [RunFolder(path.parent) for path in sorted(paths)]

    def locked(self) -> AbstractContextManager[None]:
        """Hold the lock that changes of states need. Raises `Unavailable` if another process keeps it."""
        return lock_runs(self.root)

    def _run(self) -> None:
        if self.root.is_dir():
            with self._logged("clean up"), self.locked():
                self._remove_remains()
        while not self._is_closed:
            with self._logged("start a run"):
                self._step()
            self._wake.wait(POLL_SECONDS)
            self._wake.clear()

    def _remove_remains(self) -> None:
        """Delete what killed servers have left. New folders are written by the holder of the lock."""
        for path in self.root.glob(".*"):
            is_old_plan = path.name.startswith(PLAN) and time.time() - path.stat().st_mtime > MAX_PLAN_AGE
            if is_old_plan or path.name.startswith(DELETED) or path.suffix == PARTIAL_SUFFIX:
                shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def _logged(self, task: str) -> Iterator[None]:
        try:
            yield
        except Unavailable:
            return
        except Exception as error:
            if str(error) != self._failure:  # once, however long the disk is full
                log.exception("Could not %s", task)
            self._failure = str(error)
        else:
            self._failure = ""

    def _step(self) -> None:
        """Start runs while there is space for them."""
        for process in [process for process in _PROCESSES if process.poll() is not None]:
            _PROCESSES.remove(process)
        if not any(folder.is_waiting for folder in self.folders()):
            return
        with self.locked():
            folders = self.folders()
            num_free = self._num_parallel - sum(folder.state() == "running" for folder in folders)
            for folder in [folder for folder in folders if folder.state() == "waiting"][: max(0, num_free)]:
                self._start(folder)

    def _start(self, folder: RunFolder) -> None:
        """Start the process of a run, and wait until it has the lock of its folder."""
        folder.mark_started()
        with (folder.path / OUTPUT).open("ab") as output:
            process = subprocess.Popen(  # noqa: S603, this program
                [
                    sys.executable, "-P", "-m", "turnwise.app.runs.run_process", str(folder.path),
                    str(self._niceness), self._program,
                ],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True, cwd=folder.path, env=run_environment(self._threads),
            )  # fmt: skip
        _PROCESSES.append(process)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None and not is_locked(folder.path):
            time.sleep(0.02)


def half_of_the_processors() -> int:
    """Half of the processors, at least one."""
    return max(1, (os.cpu_count() or 2) // 2)


def run_environment(threads: int) -> dict[str, str]:
    """Environment of a command that leaves processors to the server."""
    return {**os.environ, "OMP_NUM_THREADS": str(threads), "COLUMNS": "200"}
