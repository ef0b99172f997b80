"""Scans of data sets in threads, one per content, and their results on disk.

The folder of a scan is `NAME/HASH`: the hash of the content finds it again after a restart, and the name finds it when
the data set is deleted.
"""

import hashlib
import json
import logging
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from turnwise.app.datasets.row_file import RowFile
from turnwise.app.datasets.scan import REPORT_NAME, Scan, ScanStopped, scan_dataset
from turnwise.core.errors import TurnwiseError

INDEX_VERSION = 1  # raise it when the files of a scan change
NUM_THREADS = 2  # so that a large data set does not keep the others from being shown
POLL_SECONDS = 0.01
RETRY_SECONDS = 60.0  # after which a scan that failed is tried again: the disk may have been full
MAX_REMAINS_SECONDS = 86400.0  # after which an unfinished folder is that of a killed process
_Stamp = tuple[int, int, int]

log = logging.getLogger("turnwise.datasets")


class ScanThreads:
    """Starts scans, and finds finished ones. Its methods may be called from several threads.

    Args:
        folder: where the results are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._executor = ThreadPoolExecutor(NUM_THREADS, "turnwise-data-check")
        self._lock = threading.Lock()
        self._scans: dict[Path, Scan] = {}  # by the folder of the result
        self._hashes: dict[Path, tuple[_Stamp, str]] = {}

    def close(self) -> None:
        """Stop all scans."""
        with self._lock:
            for scan in self._scans.values():
                scan.is_stopped = True
        self._executor.shutdown(cancel_futures=True)

    def open(self, file: Path) -> tuple[Scan, Path]:
        """The scan of a file, which starts if there is none, and the folder of its result."""
        result = self._folder / file.name / self._hash(file)
        with self._lock:
            scan = self._scans.get(result)
            if scan is not None and (not scan.is_finished or time.monotonic() - scan.finished < RETRY_SECONDS):
                return scan, result
            if (result / REPORT_NAME).is_file():
                with RowFile(result) as rows:
                    return Scan(rows.num_rows, 1.0, result, is_finished=True), result
            for folder, earlier in self._scans.items():
                if folder.parent == result.parent:
                    earlier.is_stopped = True  # of an earlier content of this file
            self._folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            scan = self._scans[result] = Scan()
            self._executor.submit(self._run, file, result, scan)
        return scan, result

    def wait(self, scan: Scan, num_rows: int, seconds: float) -> None:
        """Return when a scan has read so many rows or has ended, or after some seconds."""
        deadline = time.monotonic() + seconds
        while scan.num_rows < num_rows and not scan.is_finished and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def delete(self, name: str) -> None:
        """Stop the scans of a data set and delete their results."""
        with self._lock:
            for result in [path for path in self._scans if path.parent.name == name]:
                self._scans.pop(result).is_stopped = True
            self._hashes = {file: entry for file, entry in self._hashes.items() if file.name != name}
        shutil.rmtree(self._folder / name, ignore_errors=True)

    def delete_others(self, names: set[str]) -> None:
        """Delete the results of data sets that are not in `names`, and what killed processes have left."""
        for folder in self._folder.glob("*"):
            if folder.name not in names:
                shutil.rmtree(folder, ignore_errors=True)
            delete_remains(folder)

    def _run(self, file: Path, result: Path, scan: Scan) -> None:
        try:
            scan_dataset(file, result, scan)
            for folder in result.parent.iterdir():
                if folder != result and not folder.name.startswith("."):
                    shutil.rmtree(folder, ignore_errors=True)  # of an earlier content
        except ScanStopped:
            scan.error = "The data set was deleted or replaced."
        except TurnwiseError as error:
            scan.error = str(error).replace(str(file), file.name)
        except FileNotFoundError:
            scan.error = "The data set was deleted."
        except Exception:  # no other thread would see it
            log.exception("A data set could not be checked.")
            scan.error = "The data set could not be checked because of an error in the server."
        finally:
            scan.finished = time.monotonic()
            scan.is_finished = True
            if scan.is_stopped and not (self._folder.parent / file.name).exists():
                shutil.rmtree(result.parent, ignore_errors=True)

    def _hash(self, file: Path) -> str:
        """Hash of the content; computed again only if the file has changed."""
        status = file.stat()
        stamp = (status.st_size, status.st_mtime_ns, status.st_ino)
        known_stamp, digest = self._hashes.get(file, (None, ""))
        if known_stamp != stamp:
            hasher = hashlib.sha256(f"{INDEX_VERSION}\n".encode())
            with file.open("rb") as opened:
                while chunk := opened.read(2**20):
                    hasher.update(chunk)
            digest = hasher.hexdigest()[:32]
            self._hashes[file] = (stamp, digest)
        return digest


def read_report(result: Path) -> dict[str, Any]:
    """The report of a finished scan."""
    report: dict[str, Any] = json.loads((result / REPORT_NAME).read_text(encoding="utf-8"))
    return report


def delete_remains(folder: Path) -> None:
    """Delete the unfinished folders in `folder` that nobody has written to for a day."""
    for path in folder.glob(".*.part"):
        written = max((entry.stat().st_mtime for entry in (path, *path.glob("*"))), default=0.0)
        if time.time() - written > MAX_REMAINS_SECONDS:
            shutil.rmtree(path, ignore_errors=True)
