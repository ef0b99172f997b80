"""Remembers at which row each hash key occurred first, in little memory."""

from pathlib import Path

from turnwise.data.sources import RowLocation

ROW_BITS = 40


class SeenKeys:
    """Hash keys with the location of their first row.

    Locations are packed into one integer each, file index and row number, because there are millions of them.
    """

    def __init__(self) -> None:
        self._files: list[Path] = []
        self._locations: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._locations)

    def __contains__(self, key: int) -> bool:
        return key in self._locations

    def add(self, key: int, location: RowLocation) -> str | None:
        """Add a key. Returns its first location if it has been added before, else None."""
        if key in self._locations:
            return self.first_location(key)
        if not self._files or self._files[-1] != location.file:
            self._files.append(location.file)
        self._locations[key] = (len(self._files) - 1) << ROW_BITS | location.number
        return None

    def first_location(self, key: int) -> str:
        """Return the first location of a key as "file:number"."""
        packed = self._locations[key]
        return f"{self._files[packed >> ROW_BITS]}:{packed & (1 << ROW_BITS) - 1}"

    def first_row(self, key: int) -> int:
        """Return the number of the first row of a key."""
        return self._locations[key] & (1 << ROW_BITS) - 1
