"""Parquet and Arrow: tables whose cells may be lists and objects."""

from collections.abc import Iterator
from typing import Any, BinaryIO

from turnwise.data.containers import RenameColumns
from turnwise.data.rows import FileSample, NumberedValue, UnreadableFile
from turnwise.data.table_cells import decode_cells

UNIT = "row"
BATCH_ROWS = 1000
_PARQUET, _ARROW_FILE = b"PAR1", b"ARROW1"
_ARROW_STREAM = b"\xff\xff\xff\xff"  # as `datasets` saves to disk


def sniff(sample: FileSample) -> float:
    """Certain: all of these files start with a signature."""
    return 1.0 if sample.head.startswith((_PARQUET, _ARROW_FILE, _ARROW_STREAM)) else 0.0


def values(file: BinaryIO, sample: FileSample, rename_columns: RenameColumns) -> Iterator[NumberedValue]:  # noqa: ARG001
    """Yield each row as an object. Raises `UnreadableFile` if pyarrow is missing or the file is damaged."""
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError as error:
        raise UnreadableFile("Reading Parquet needs pyarrow: pip install 'turnwise[parquet]'.") from error
    number = 0
    try:
        for batch in _batches(pyarrow, file, sample.head):
            for row in batch.to_pylist():
                number += 1
                yield number, decode_cells({name: _drop_nulls(cell) for name, cell in row.items()})
    except (pyarrow.ArrowException, OSError) as error:
        raise UnreadableFile(f"It is damaged or not a Parquet file ({str(error).partition(chr(10))[0]}).") from error


def _batches(pyarrow: Any, file: BinaryIO, head: bytes) -> Iterator[Any]:
    if head.startswith(_PARQUET):
        yield from pyarrow.parquet.ParquetFile(file).iter_batches(batch_size=BATCH_ROWS)
    elif head.startswith(_ARROW_FILE):
        reader = pyarrow.ipc.open_file(file)
        yield from (reader.get_batch(number) for number in range(reader.num_record_batches))
    else:
        yield from pyarrow.ipc.open_stream(file)


def _drop_nulls(value: Any) -> Any:
    """Return a cell without the keys that are null in its objects: Parquet adds them where an object lacks a key."""
    if isinstance(value, list):
        return [_drop_nulls(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _drop_nulls(entry) for key, entry in value.items() if entry is not None}
    return value
