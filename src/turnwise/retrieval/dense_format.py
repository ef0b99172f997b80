"""Files of a dense index: vectors as sign bits and 8-bit integers, in flat files that are mapped into memory.

A folder belongs to one encoder::

    header.json   format, dimension, hash of the encoder, mean vector that is subtracted from all vectors
    bits.00 …     signs of the rows: 64 dimensions per file, one uint64 per row; a scan reads each file in order
    rows.i8       rows of 8-bit integers
    scales.f32    one factor per row: rotated (vector − mean) ≈ factor · row; see `rotation.py`
    ids.i64       passage ids, ascending
    scopes.u32    number of the passage's scope
    state.bin     number of rows, position in the store, checksums, and a bit per row that is alive

Rows are only appended. `state.bin` is replaced last: rows that it does not count do not exist. The header and the state
of one index have the same random generation.

Shapes: N rows, D dimensions, W words of 64 bits.
"""

import base64
import json
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnwise.core.files import atomic_write
from turnwise.retrieval.index_cursor import IndexCursor, IndexDamaged

FORMAT_VERSION = 1
HEADER, STATE = "header.json", "state.bin"
MEAN_ROWS = 4096  # vectors that the subtracted mean is computed of; fewer rows are not searched by their bits
MIN_VALUE = 1e-30  # a row of smaller numbers is stored as zeros: its factor would be no normal float
_CHUNK = 2**22


@dataclass(frozen=True, slots=True)
class DenseHeader:
    """What all rows have in common.

    Attributes:
        encoder: `TextEncoder.fingerprint`.
        dimension: length of the vectors.
        mean_D: the vector that is subtracted from all vectors.
        has_mean: False while there are too few rows for a mean.
        generation: random id, the same in the header and in the state.
    """

    encoder: str
    dimension: int
    mean_D: NDArray[np.float32]
    has_mean: bool
    generation: str

    @property
    def file_types(self) -> dict[str, tuple[Any, int]]:
        """Type and values per row of each data file."""
        words = {f"bits.{number:02d}": (np.uint64, 1) for number in range((self.dimension + 63) // 64)}
        others = {"ids.i64": (np.int64, 1), "scopes.u32": (np.uint32, 1), "scales.f32": (np.float32, 1)}
        return words | others | {"rows.i8": (np.int8, self.dimension)}


@dataclass(frozen=True, slots=True)
class DenseState:
    """How many rows there are, and which of them are alive.

    Attributes:
        generation: that of the header.
        num_rows: number of valid rows.
        cursor: position in the store.
        checksums: CRC-32 of the valid part of each data file.
        is_alive_N: False for rows of deleted passages.
    """

    generation: str
    num_rows: int = 0
    cursor: IndexCursor = field(default_factory=IndexCursor)
    checksums: dict[str, int] = field(default_factory=dict)
    is_alive_N: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))


def write_header(folder: Path, header: DenseHeader) -> None:
    """Write the header. Raises `SaveFailed`."""
    values = {
        "format": FORMAT_VERSION, "encoder": header.encoder, "dimension": header.dimension,
        "has_mean": header.has_mean, "generation": header.generation,
        "mean": base64.b64encode(header.mean_D.astype("<f4").tobytes()).decode(),
    }  # fmt: skip
    body = json.dumps(values)
    atomic_write(folder / HEADER, json.dumps({"header": body, "crc": zlib.crc32(body.encode())}))


def read_header(folder: Path) -> DenseHeader:
    """Read the header. Raises `IndexDamaged`."""
    try:
        wrapper = json.loads((folder / HEADER).read_bytes())
        body = wrapper["header"]
        if wrapper["crc"] != zlib.crc32(body.encode()):
            raise ValueError("checksum")
        values = json.loads(body)
        if values["format"] != FORMAT_VERSION:
            raise ValueError("format")
        mean_D = np.frombuffer(base64.b64decode(values["mean"]), dtype="<f4").astype(np.float32)
        header = DenseHeader(values["encoder"], values["dimension"], mean_D, values["has_mean"], values["generation"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise IndexDamaged(f"The header of the dense index {folder} cannot be read.") from error
    return header


def write_state(folder: Path, state: DenseState) -> None:
    """Replace the state. Raises `SaveFailed`."""
    values = {
        "generation": state.generation, "num_rows": state.num_rows, "cursor": asdict(state.cursor),
        "checksums": state.checksums,
    }  # fmt: skip
    body = json.dumps(values).encode() + b"\n" + np.packbits(state.is_alive_N).tobytes()
    atomic_write(folder / STATE, zlib.crc32(body).to_bytes(4, "little") + body)


def read_state(folder: Path) -> DenseState:
    """Read the state. Raises `IndexDamaged`."""
    try:
        content = (folder / STATE).read_bytes()
        body = content[4:]
        if zlib.crc32(body) != int.from_bytes(content[:4], "little"):
            raise ValueError("checksum")
        line, _, bits = body.partition(b"\n")
        values = json.loads(line)
        num_rows = values["num_rows"]
        alive = np.unpackbits(np.frombuffer(bits, np.uint8), count=num_rows).astype(np.bool_)
        return DenseState(
            values["generation"], num_rows, IndexCursor(**values["cursor"]), dict(values["checksums"]), alive
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IndexDamaged(f"The state of the dense index {folder} cannot be read.") from error


def map_rows(folder: Path, header: DenseHeader, state: DenseState) -> dict[str, NDArray[Any]]:
    """Map the valid rows of all data files. Raises `IndexDamaged` if a file is too short or cannot be read."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, (kind, width) in header.file_types.items():
        shape = (state.num_rows,) if width == 1 else (state.num_rows, width)
        if not state.num_rows:
            arrays[name] = np.empty(shape, kind)
            continue
        try:
            # A plain array over the map: np.memmap costs time at every slice.
            arrays[name] = np.asarray(np.memmap(folder / name, kind, "r", shape=shape))
        except (OSError, ValueError) as error:
            raise IndexDamaged(f"{folder / name} cannot be read, or is too short.") from error
    return arrays


def check_rows(folder: Path, header: DenseHeader, state: DenseState) -> None:
    """Compare the checksums of the data files. Raises `IndexDamaged`."""
    for name, (kind, width) in header.file_types.items():
        size = state.num_rows * width * np.dtype(kind).itemsize
        checksum = 0
        try:
            with (folder / name).open("rb") as file:
                while size:
                    chunk = file.read(min(size, _CHUNK))
                    if not chunk:
                        raise IndexDamaged(f"{folder / name} is too short.")
                    checksum, size = zlib.crc32(chunk, checksum), size - len(chunk)
        except OSError as error:
            raise IndexDamaged(f"{folder / name} cannot be read: {error.strerror or error}.") from error
        if checksum != state.checksums.get(name, 0):
            raise IndexDamaged(f"{folder / name} is damaged.")


def sign_bits(centred_ND: NDArray[Any]) -> NDArray[np.uint64]:
    """Signs of vectors, shape `(W, N)`: 1 for positive numbers. The last word is filled up with zeros."""
    is_positive_ND = centred_ND > 0
    num_rows, dimension = is_positive_ND.shape
    padded_ND = np.zeros((num_rows, (dimension + 63) // 64 * 64), np.bool_)
    padded_ND[:, :dimension] = is_positive_ND
    return np.ascontiguousarray(np.packbits(padded_ND, axis=1).view(np.uint64).T)


def quantize_rows(centred_ND: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Rows of 8-bit integers and their factors: centred vector ≈ factor · row."""
    maxima_N = np.abs(centred_ND).max(axis=1, initial=0.0)
    scales_N = np.where(maxima_N > MIN_VALUE, maxima_N / 127.0, 1.0).astype(np.float32)
    return np.rint(centred_ND / scales_N[:, None]).astype(np.int8), scales_N
