"""Where wheels come from: pip's package index, or a local folder."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from turnwise.app.model_store.catalogue_entry import Wheel
from turnwise.app.model_store.staged_file import DamagedWheel
from turnwise.core.errors import Unavailable, UserError

OnBytes = Callable[[int], None]  # receives the bytes of the current download
POLL_SECONDS = 0.1
# Settings of the user that would change or refuse a download of one pinned wheel.
ENVIRONMENT = {"PIP_CONSTRAINT": os.devnull, "PIP_REQUIRE_VIRTUALENV": "0", "PIP_REQUIRE_HASHES": "0"}
DAMAGE_MESSAGES = (" is invalid", "DO NOT MATCH THE HASHES", "BadZipFile")  # of pip


class DownloadFailed(Unavailable):
    """A wheel could not be downloaded."""


class WheelSource(Protocol):
    """Provides the files of wheels."""

    is_local: bool

    def fetch(self, wheel: Wheel, folder: Path, on_bytes: OnBytes) -> Path:
        """Return the path of a wheel's file; `folder` is for temporary files."""


class PipIndex:
    """Downloads wheels with `pip download`.

    pip knows the user's index, mirrors, proxies, certificates and passwords. It installs nothing, downloads no
    dependencies, and runs nothing of the wheel. The size of its temporary files gives the progress.
    """

    is_local = False

    def fetch(self, wheel: Wheel, folder: Path, on_bytes: OnBytes) -> Path:
        """Download a wheel into `folder`.

        Raises:
            DownloadFailed: pip failed, or the wheel is larger than it should be.
            DamagedWheel: pip received a damaged wheel.
        """
        temporary, target = folder / "temporary", folder / "wheels"
        temporary.mkdir(parents=True)
        command = [sys.executable, "-m", "pip", "download", wheel.requirement, "--dest", str(target), "--no-deps"]
        command += ["--only-binary", ":all:", "--no-cache-dir", "--progress-bar", "off", "--no-input"]
        command += ["--disable-pip-version-check", *(["--platform", wheel.platform] if wheel.platform else [])]
        log = folder / "pip.log"
        environment = {**os.environ, **ENVIRONMENT, "TMPDIR": str(temporary.resolve())}
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
            )
            try:
                while process.poll() is None:
                    time.sleep(POLL_SECONDS)
                    size = _largest_file(folder)
                    on_bytes(min(size, wheel.bytes))
                    if size > 2 * wheel.bytes + 2**20:
                        raise DownloadFailed(
                            f"The package index sends more than {2 * wheel.bytes:,} bytes for {wheel.requirement}, "
                            f"which has {wheel.bytes:,}."
                        )
            finally:
                process.terminate()
                process.wait()
        path = next(iter(sorted(target.glob(f"{wheel.file_prefix}*.whl"))), None)
        if process.returncode or path is None:
            reason = _failure_reason(log)
            failure = DamagedWheel if any(text in reason for text in DAMAGE_MESSAGES) else DownloadFailed
            raise failure(f"pip could not download {wheel.requirement}: {reason}")
        return path


class LocalWheels:
    """Wheels that are on this machine already.

    Args:
        path: a wheel, or a folder that contains the wheels.
    """

    is_local = True

    def __init__(self, path: Path) -> None:
        self.path = path

    def fetch(self, wheel: Wheel, folder: Path, on_bytes: OnBytes) -> Path:  # noqa: ARG002
        """Find a wheel by its file name. Raises `UserError` if it is missing or too large."""
        if self.path.is_dir():
            path = next(iter(sorted(self.path.glob(f"{wheel.file_prefix}*.whl"))), None)
        else:
            path = self.path if self.path.name.startswith(wheel.file_prefix) else None
        if path is None:
            raise UserError(f"{self.path} does not contain the wheel {wheel.file_prefix}….whl ({wheel.requirement}).")
        if path.stat().st_size > 2 * wheel.bytes + 2**20:
            raise UserError(f"{path} is not {wheel.requirement}: the wheel has {wheel.bytes:,} bytes.")
        return path


def _largest_file(folder: Path) -> int:
    """Size of the largest file in a folder that another process writes to."""
    sizes = [0]
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append((Path(parent) / name).stat().st_size)
            except OSError:  # deleted in the meantime
                continue
    return max(sizes)


def _failure_reason(log: Path) -> str:
    """The first error line of pip, shortened."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    reason = next(iter(errors or reversed([line for line in lines if line.strip()])), "it gave no reason")
    return reason[:300].rstrip(". ") + "."
