"""Data sets of a server: files of dialogues that people upload, and the port of their library."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


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
