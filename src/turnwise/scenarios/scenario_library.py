"""Scenarios by name, from several folders; edits take effect without a restart."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from turnwise.core.errors import InvalidData, InvalidParameter, did_you_mean
from turnwise.core.settings import Settings
from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.folder_snapshot import SETTINGS_FILE, FolderState, folder_state, read_folder
from turnwise.scenarios.loader import parse_snapshot

CHECK_INTERVAL = 0.5  # seconds between two looks at the files


def builtin_folder() -> Path:
    """The folder of the scenarios that come with the package."""
    return Path(str(resources.files("turnwise.scenarios").joinpath("library")))


@dataclass(frozen=True, slots=True)
class _Entry:
    """A scenario's folder as it was last read.

    Attributes:
        folder: the folder.
        state: state of its files, or the error that prevented a look at them.
        definition: the last valid version; None if there has been none.
        error: why the present files are invalid; None if they are valid.
    """

    folder: Path
    state: FolderState | str | None = None
    definition: ScenarioDefinition | None = None
    error: InvalidData | None = None


class ScenarioLibrary:
    """Scenarios of folders, by name.

    A scenario is read when it is first needed. After that its files are compared with their earlier state, at most
    every `CHECK_INTERVAL` seconds, and read again if one has changed. An invalid edit leaves the last valid version in
    use; `error` tells what is wrong. All methods are safe to call from several threads, and none waits for a reload
    that another thread does, except for the first load of a scenario.

    Args:
        collections: folders whose folders are scenarios; a later one takes precedence. A missing one is empty.
        folders: folders of single scenarios, which take precedence over `collections`.
        clock: time in seconds.
    """

    def __init__(
        self,
        collections: Iterable[Path],
        folders: Iterable[Path] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._collections, self._folders = tuple(collections), tuple(folders)
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._checked_at: dict[str, float] = {}
        self._names: dict[str, Path] = {}
        self._listed_at: float | None = None
        self._lock, self._list_lock = threading.Lock(), threading.Lock()

    @classmethod
    def default(cls, folders: Iterable[Path] = ()) -> "ScenarioLibrary":
        """The built-in scenarios, those in `TURNWISE_HOME/scenarios` and `folders`."""
        return cls([builtin_folder(), Settings.from_environment().home / "scenarios"], folders)

    def names(self) -> tuple[str, ...]:
        """Names of all scenarios in alphabetical order, valid or not."""
        return tuple(sorted(self._locate()))

    def get(self, name: str) -> ScenarioDefinition:
        """The last valid version of a scenario.

        Raises:
            InvalidParameter: there is no scenario of this name.
            InvalidData: it is invalid, and no earlier version was valid.
        """
        entry = self._refresh(name)
        if entry.definition is not None:
            return entry.definition
        assert entry.error is not None, "a scenario was read or is invalid"
        raise entry.error

    def error(self, name: str) -> str | None:
        """Why the present files of a scenario are invalid; None if they are valid. Raises as `get` if it is unknown."""
        error = self._refresh(name).error
        return None if error is None else str(error)

    def folder(self, name: str) -> Path:
        """The folder of a scenario. Raises `InvalidParameter` if there is none of this name."""
        folders = self._locate()
        if name not in folders:
            known_names = f"; {did_you_mean(name[:60], folders)}" if folders else "."
            raise InvalidParameter("scenario", f"There is no scenario '{name[:60]}'{known_names}")
        return folders[name]

    def _locate(self) -> dict[str, Path]:
        """Folders of all scenarios by name."""
        now = self._clock()
        with self._list_lock:
            if self._listed_at is None or now - self._listed_at >= CHECK_INTERVAL:
                names = {}
                for collection in self._collections:
                    for folder in sorted(collection.iterdir()) if collection.is_dir() else ():
                        if not folder.name.startswith((".", "_")) and (folder / SETTINGS_FILE).is_file():
                            names[folder.name] = folder
                names |= {folder.resolve().name: folder for folder in self._folders}
                self._names, self._listed_at = names, now
            return self._names

    def _refresh(self, name: str) -> _Entry:
        folder = self.folder(name)
        entry = self._entries.get(name)
        now = self._clock()
        if entry is not None and entry.folder == folder and now - self._checked_at[name] < CHECK_INTERVAL:
            return entry
        if entry is not None and entry.folder == folder:
            if not self._lock.acquire(blocking=False):
                return entry  # another thread reloads
        else:
            self._lock.acquire()
        try:
            entry = self._entries.get(name)
            if entry is None or entry.folder != folder:
                entry = _Entry(folder)
            self._entries[name] = _reload(entry, name)
            self._checked_at[name] = self._clock()
            return self._entries[name]
        finally:
            self._lock.release()


def _reload(entry: _Entry, name: str) -> _Entry:
    """Read a scenario again if its files have changed."""
    state: FolderState | str
    try:
        state = folder_state(entry.folder)
    except InvalidData as error:
        state = str(error)
        return entry if state == entry.state else _Entry(entry.folder, state, entry.definition, error)
    if state == entry.state:
        return entry
    try:
        snapshot = read_folder(entry.folder)
        return _Entry(entry.folder, snapshot.state, parse_snapshot(snapshot, name))
    except InvalidData as error:
        return _Entry(entry.folder, state, entry.definition, error)
