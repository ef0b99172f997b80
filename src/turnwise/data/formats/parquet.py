"""Parquet: columns as in the other formats (messages, conversations, prompt and response, or text)."""

import base64
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from turnwise.data import columns
from turnwise.data.formats import openai, sharegpt
from turnwise.data.long_form import gathered
from turnwise.data.rows import Item, Row, Sample, Unreadable, parsed

UNIT = "row"
EXPECTED = "a column of messages or conversations, a text column, or " + columns.EXPECTED
BATCH_ROWS = 1000
# A table of one row: prompt "Is it open?", response "From nine.".
EXAMPLE = base64.b64decode(
    "UEFSMRUAFSoVKiwVAhUAFQYVBhwAAAACAAAAAgELAAAASXMgaXQgb3Blbj8VABUoFSgsFQIVABUGFQYcAAAAAgAAAAIBCgAAAEZyb20gbmluZS"
    "4VBBk8NQAYBnNjaGVtYRUEABUMJQIYBnByb21wdCUATBwAAAAVDCUCGAhyZXNwb25zZSUATBwAAAAWAhkcGSwmABwVDBklBgAZGAZwcm9tcHQV"
    "ABYCFlAWUCYISRwVABUAFQIAPBYWGQYZJgACAAAAJgAcFQwZJQYAGRgIcmVzcG9uc2UVABYCFk4WTiZYSRwVABUAFQIAPBYUGQYZJgACAAAAFp"
    "4BFgImCBaeAQAoIHBhcnF1ZXQtY3BwLWFycm93IHZlcnNpb24gMjYuMC4xGSwcAAAcAAAA2QAAAFBBUjE="
)


def sniff(sample: Sample) -> float:
    """Parquet files begin with a mark of their own."""
    return 1.0 if sample.head.startswith(b"PAR1") else 0.0


def read(file: BinaryIO) -> Iterator[Row]:
    """Conversations or documents. Raises `Unreadable` when pyarrow is missing, the file damaged or no column known."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise Unreadable("Reading Parquet needs pyarrow: pip install 'turnwise[parquet]'.") from error
    try:
        table = pyarrow.parquet.ParquetFile(file)
        rows = _rows(table)
        message_columns = columns.long_form(table.schema_arrow.names)
        if message_columns:
            yield from gathered(rows, *message_columns)
        else:
            yield from parsed(rows, _parser(table.schema_arrow.names))
    except (pyarrow.ArrowException, OSError) as error:
        raise Unreadable(f"It is damaged or no Parquet file ({str(error).partition(chr(10))[0]}).") from error


def _rows(table: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    for batch in table.iter_batches(batch_size=BATCH_ROWS):
        for row in batch.to_pylist():
            number += 1
            yield number, row


def _parser(names: list[str]) -> Callable[[Any], Item]:
    if "messages" in names:
        return openai.parse
    if "conversations" in names:
        return sharegpt.parse
    return columns.parser(names)
