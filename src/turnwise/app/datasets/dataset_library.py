"""The data sets of a server: the files in a folder, and the bundled example."""

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from turnwise.app.datasets.dataset_names import check_dataset_name
from turnwise.app.datasets.row_file import RowFile
from turnwise.app.datasets.row_search import search_rows
from turnwise.app.datasets.scan import check_readable
from turnwise.app.datasets.scan_threads import ScanThreads, delete_remains, read_report
from turnwise.core.datasets import Dataset, DatasetCheck, DatasetPage
from turnwise.core.errors import Forbidden, InvalidData, NotFound, SaveFailed, did_you_mean
from turnwise.core.files import fsync_directory, sync_tree

EXAMPLE = Path(__file__).parent / "example_dialogues.jsonl"
INDEX_NAME = ".index"
WAIT_SECONDS = 2.0  # for the rows of a page that are not read yet
SEARCH_SECONDS = 2.0


class FolderDatasetLibrary:
    """A `DatasetBrowser` of the files in a folder. Files that people put there themselves belong to it.

    Args:
        folder: the folder; it is created with the first upload.
        bundled: data sets of the package.
        search_seconds: time limit of a search.
    """

    def __init__(
        self, folder: Path, *, bundled: Sequence[Path] = (EXAMPLE,), search_seconds: float = SEARCH_SECONDS
    ) -> None:
        self._folder, self._bundled, self._search_seconds = folder, tuple(bundled), search_seconds
        self._scans = ScanThreads(folder / INDEX_NAME)
        self._add_lock = threading.Lock()
        delete_remains(folder)
        self._scans.delete_others(set(self._files()))

    def __enter__(self) -> "FolderDatasetLibrary":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._scans.close()

    def _files(self) -> dict[str, Path]:
        """All files by name; an uploaded one replaces a bundled one of the same name."""
        files = {path.name: path for path in self._bundled}
        if self._folder.is_dir():
            entries = sorted(self._folder.iterdir())
            files |= {path.name: path for path in entries if path.name[0] != "." and path.is_file()}
        return files

    def datasets(self) -> Sequence[Dataset]:
        """All data sets, the newest first, then the bundled ones."""
        listed = []
        for name, path in self._files().items():
            try:
                status = path.stat()
            except OSError:  # deleted meanwhile
                continue
            listed.append(Dataset(name, status.st_size, status.st_mtime, path in self._bundled))
        return sorted(listed, key=lambda dataset: (dataset.is_bundled, -dataset.added, dataset.name))

    def path(self, name: str) -> Path:
        """The file of a data set. Raises `NotFound`."""
        files = self._files()
        if name not in files:
            raise NotFound(f"There is no data set '{name[:100]}'; {did_you_mean(name[:100], files)}")
        return files[name]

    def add(self, file: Path, name: str) -> Dataset:
        """Copy a file into the library; see `DatasetBrowser`."""
        name = check_dataset_name(name, self._files())
        temporary: Path | None = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # The copy has its name already, because the suffix tells the format.
            temporary = Path(tempfile.mkdtemp(prefix=".upload.", suffix=".part", dir=self._folder))
            copied = temporary / name
            shutil.copyfile(file, copied)
            check_readable(copied)
            sync_tree(temporary)
            with self._add_lock:
                check_dataset_name(name, self._files())
                self._publish(copied)
            fsync_directory(self._folder)
        except OSError as error:
            raise SaveFailed(f"Could not store {name}: {error.strerror or error}. Nothing was changed.") from error
        finally:
            if temporary is not None:
                shutil.rmtree(temporary, ignore_errors=True)
        return next(dataset for dataset in self.datasets() if dataset.name == name)

    def _publish(self, copied: Path) -> None:
        """Give a file its name, unless another process has added one of this name since it was checked."""
        target = self._folder / copied.name
        try:
            os.link(copied, target)
        except FileExistsError:
            check_dataset_name(copied.name, self._files())
            raise
        except OSError:  # a file system without hard links
            copied.replace(target)

    def delete(self, name: str) -> None:
        """Delete a data set; see `DatasetBrowser`."""
        path = self.path(name)
        if path in self._bundled:
            raise Forbidden(f"'{name}' belongs to Turnwise and cannot be deleted.")
        try:
            path.unlink(missing_ok=True)
            fsync_directory(self._folder)
        except OSError as error:
            raise SaveFailed(f"Could not delete {name}: {error.strerror or error}.") from error
        self._scans.delete(name)

    def page(self, name: str, offset: int, limit: int) -> DatasetPage:
        """Rows from an offset on; see `DatasetBrowser`."""

        def read(file: RowFile, is_complete: bool) -> DatasetPage:
            rows = file.read(offset, limit)
            end = offset + len(rows)
            next_offset = None if is_complete and end >= file.num_rows else end
            return DatasetPage(tuple(rows), file.num_rows, is_complete, next_offset)

        return self._read_rows(name, offset, limit, read)

    def search(self, name: str, text: str, offset: int, limit: int) -> DatasetPage:
        """Rows that have a text; see `DatasetBrowser`."""

        def read(file: RowFile, is_complete: bool) -> DatasetPage:
            seconds = self._search_seconds
            return search_rows(file, text, offset, limit, seconds=seconds, is_complete=is_complete)

        return self._read_rows(name, offset, limit, read)

    def rows_of_finding(self, name: str, kind: str, offset: int, limit: int) -> DatasetPage:
        """Rows with a finding; see `DatasetBrowser`."""
        report = self.check(name).report
        findings = {} if report is None else {finding["kind"]: finding["rows"] for finding in report["findings"]}
        if kind not in findings:
            raise NotFound(f"The report of '{name}' has no finding '{kind[:100]}'.")
        indexes = findings[kind]

        def read(file: RowFile, is_complete: bool) -> DatasetPage:
            del is_complete  # the report is there, so all rows are
            rows = file.read_some(indexes[offset : offset + limit])
            end = offset + len(rows)
            return DatasetPage(tuple(rows), len(indexes), True, end if end < len(indexes) else None)

        return self._read_rows(name, 0, 0, read)

    def check(self, name: str) -> DatasetCheck:
        """The check of a data set; see `DatasetBrowser`."""
        with _not_found_if_deleted(name):
            scan, result = self._scans.open(self.path(name))
            if scan.error:
                return DatasetCheck("failed", scan.share, scan.num_rows, error=scan.error)
            if not scan.is_finished:
                return DatasetCheck("running", scan.share, scan.num_rows)
            return DatasetCheck("complete", 1.0, scan.num_rows, read_report(result))

    def _read_rows(
        self, name: str, offset: int, limit: int, read: Callable[[RowFile, bool], DatasetPage]
    ) -> DatasetPage:
        """Call `read` with the rows of a data set, and whether they are all of them.

        Waits for a limited time until `limit` rows from `offset` on have been read.
        """
        with _not_found_if_deleted(name):
            scan, _ = self._scans.open(self.path(name))
            self._scans.wait(scan, offset + limit, WAIT_SECONDS)
            if scan.error:
                raise InvalidData(scan.error)
            is_complete, rows = scan.is_finished, scan.rows()
            if rows is None:
                return DatasetPage((), 0, False, offset, is_stopped_early=True)
            with rows:
                return read(rows, is_complete)


@contextmanager
def _not_found_if_deleted(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"The data set '{name}' was deleted.") from error
