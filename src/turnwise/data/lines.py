"""Bytes to lines of text, counted from 1, whatever stands in them."""

import codecs
from collections.abc import Iterator
from typing import BinaryIO

from turnwise.data.encoding import TranscodedFile, guess_encoding
from turnwise.data.rows import BadRow, FileSample

MAX_LINE_BYTES = 64 * 2**20  # a longer "line" is not a data row, and a decompressed one may be endless
SAMPLE_BYTES = 64 * 2**10


def numbered_lines(file: BinaryIO) -> Iterator[tuple[int, str] | BadRow]:
    """Every line with its number, without its line end; one that is not UTF-8 is a bad row naming the byte.

    A byte order mark at the beginning is left out.
    """
    offset = number = 0
    while raw := file.readline(MAX_LINE_BYTES):
        number += 1
        start, offset = offset, offset + len(raw)
        if len(raw) == MAX_LINE_BYTES and not raw.endswith(b"\n"):
            while (more := file.readline(MAX_LINE_BYTES)) and not more.endswith(b"\n"):
                offset += len(more)
            offset += len(more)
            yield BadRow(number, f"the line is longer than {MAX_LINE_BYTES >> 20} MiB")
            continue
        if number == 1 and raw.startswith(codecs.BOM_UTF8):
            start += len(codecs.BOM_UTF8)
            raw = raw.removeprefix(codecs.BOM_UTF8)
        try:
            yield number, raw.decode("utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            yield BadRow(number, decode_error_reason(file, raw, error.start, start))


def decode_error_reason(file: BinaryIO, raw: bytes, index: int, offset: int) -> str:
    """The reason given for a byte that cannot be decoded: `raw[index]`, where `raw` begins at `offset` in the file."""
    if isinstance(file, TranscodedFile):
        return f"it cannot be read as {file.source_encoding}: name the file's encoding with --encoding"
    return (
        f"it is not UTF-8: byte 0x{raw[index]:02x} at offset {offset + index} cannot be read "
        f"(name the file's encoding, such as --encoding {guess_encoding(raw)})"
    )


def take_sample(name: str, file: BinaryIO) -> FileSample:
    """The beginning of `file`, which is left where it began. A first line longer than the sample is read to its end."""
    head = file.read(SAMPLE_BYTES)
    is_complete = len(head) < SAMPLE_BYTES
    if b"\n" not in head and not is_complete:
        head += file.readline(MAX_LINE_BYTES)
        is_complete = not head.endswith(b"\n") and len(head) < MAX_LINE_BYTES
    file.seek(0)
    return FileSample.of(name, head, is_complete=is_complete)
