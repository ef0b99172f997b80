"""Parquet and Arrow: tables whose cells may be lists and objects."""

from collections.abc import Iterator
from typing import Any, BinaryIO

from turnwise.data.containers import RenameColumns, Value
from turnwise.data.rows import FileSample, UnreadableFile
from turnwise.data.table_cells import decode_cells

UNIT = "row"
BATCH_ROWS = 1000
_STREAM = b"\xff\xff\xff\xff"  # what `datasets` saves to disk


def sniff(sample: FileSample) -> float:
    """Both have a mark of their own."""
    return 1.0 if sample.head.startswith((b"PAR1", b"ARROW1", _STREAM)) else 0.0


def values(file: BinaryIO, sample: FileSample, renamed: RenameColumns) -> Iterator[Value]:  # noqa: ARG001
    """Each row by the names of the columns. Raises `Unreadable` when pyarrow is missing or the file damaged."""
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
                yield number, decode_cells(_without_nulls(row))
    except (pyarrow.ArrowException, OSError) as error:
        raise UnreadableFile(f"It is damaged or no Parquet file ({str(error).partition(chr(10))[0]}).") from error


def _batches(pyarrow: Any, file: BinaryIO, head: bytes) -> Iterator[Any]:
    if head.startswith(b"PAR1"):
        yield from pyarrow.parquet.ParquetFile(file).iter_batches(batch_size=BATCH_ROWS)
    elif head.startswith(b"ARROW1"):
        reader = pyarrow.ipc.open_file(file)
        yield from (reader.get_batch(number) for number in range(reader.num_record_batches))
    else:
        yield from pyarrow.ipc.open_stream(file)


def _without_nulls(value: Any) -> Any:
    """Without the keys that a table adds to objects which lack them; columns stay, so that all rows have the same."""
    if isinstance(value, list):
        return [_inner(entry) for entry in value]
    return {key: _inner(entry) for key, entry in value.items()} if isinstance(value, dict) else value


def _inner(value: Any) -> Any:
    if isinstance(value, list):
        return [_inner(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _inner(entry) for key, entry in value.items() if entry is not None}
    return value
