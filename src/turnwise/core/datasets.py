"""Data sets of a server: files of dialogues that people upload, and the ports of their library."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol


@dataclass(frozen=True, slots=True)
class Dataset:
    """A file of dialogues that the server keeps, for looking at and for training.

    Attributes:
        name: its file name.
        num_bytes: its size.
        added: Unix time in seconds.
        is_bundled: True if it belongs to the package; then it cannot be deleted.
    """

    name: str
    num_bytes: int
    added: float
    is_bundled: bool = False


class DatasetLibrary(Protocol):
    """The data sets of a server."""

    def datasets(self) -> Sequence[Dataset]:
        """All data sets, the newest first."""

    def path(self, name: str) -> Path:
        """The file of a data set. Raises `NotFound`."""


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """A row of a data set: a dialogue, a plain text, or a row that cannot be read.

    Attributes:
        index: its position among all rows, from 0.
        line: number of the line, or of the row of a table, where it starts in the file, from 1.
        content: JSON-like values in OpenAI's fine-tuning format: `messages`, `tools`, `rejected`, `rating` and `meta`,
            or `text` and `meta`. Empty if the row cannot be shown.
        problem: why the row cannot be shown; empty if it can.
    """

    index: int
    line: int
    content: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class DatasetPage:
    """Some rows of a list: of all rows, of those that a search finds, or of those with a finding.

    Attributes:
        rows: in the order of the list.
        num_rows: length of the list as far as it is known: of a search, the number of rows of the data set.
        is_complete: False while the file is being read, so that `num_rows` grows.
        next_offset: where the next page starts; None after the last one.
        is_stopped_early: True if a search used up its time before the page was full.
    """

    rows: tuple[DatasetRow, ...]
    num_rows: int
    is_complete: bool
    next_offset: int | None
    is_stopped_early: bool = False


@dataclass(frozen=True, slots=True)
class DatasetCheck:
    """State of the check of a data set.

    Attributes:
        state: a check that has failed says why in `error`.
        share: share of the file that has been read, from 0 to 1.
        num_rows: rows that have been read.
        report: result of `turnwise data check` as JSON-like values; None while it runs. The `rows` of its findings are
            indexes of rows.
        error: a sentence; empty if there is none.
    """

    state: Literal["running", "complete", "failed"]
    share: float
    num_rows: int
    report: Mapping[str, Any] | None = None
    error: str = ""


class DatasetBrowser(DatasetLibrary, Protocol):
    """The data sets of a server, to add, look at, check and delete them. All methods block."""

    def add(self, file: Path, name: str) -> Dataset:
        """Copy a file into the library.

        Raises:
            InvalidParameter: the name is not allowed or taken.
            InvalidData: the file has no row that can be read.
            SaveFailed: it could not be written; nothing was changed.
        """

    def delete(self, name: str) -> None:
        """Delete a data set, and all that was computed from it. Raises `NotFound`, `Forbidden` and `SaveFailed`."""

    def page(self, name: str, offset: int, limit: int) -> DatasetPage:
        """Up to `limit` rows from `offset` on. Large rows shorten a page.

        Raises:
            NotFound: there is no such data set.
            InvalidData: the file cannot be read.
        """

    def search(self, name: str, text: str, offset: int, limit: int) -> DatasetPage:
        """Up to `limit` rows from `offset` on that have a text, ignoring case. It takes a limited time.
        Large rows shorten a page.

        Raises as `page` does.
        """

    def rows_of_finding(self, name: str, kind: str, offset: int, limit: int) -> DatasetPage:
        """Up to `limit` of the rows with a finding of the check, from position `offset` in their list on. Large
        rows shorten a page.

        Raises as `page` does, and `NotFound` if the report has no such finding.
        """

    def check(self, name: str) -> DatasetCheck:
        """The check of a data set; it starts if it has not been made for this content. Raises `NotFound`."""
