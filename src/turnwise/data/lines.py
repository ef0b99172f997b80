"""Splits a UTF-8 file into numbered lines, and takes samples of files."""

import codecs
from collections.abc import Iterator
from typing import BinaryIO

from turnwise.data.rows import BadRow, FileSample, NumberedLine
from turnwise.data.text_encoding import TranscodedFile, guess_encoding

MAX_LINE_BYTES = 64 * 2**20  # a longer "line" is not a data row; a decompressed line may be endless
SAMPLE_BYTES = 64 * 2**10


def numbered_lines(file: BinaryIO) -> Iterator[NumberedLine]:
    """Yield every line without its line end, numbered from 1. A line that is not UTF-8 is a bad row naming the byte.

    A byte order mark at the start of the file is removed.
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
    """Return the reason for a bad row with the invalid byte `raw[index]`; `raw` starts at `offset` in the file."""
    if isinstance(file, TranscodedFile):
        return f"it cannot be decoded as {file.source_encoding}: name the file's encoding with --encoding"
    return (
        f"it is not UTF-8: byte 0x{raw[index]:02x} at offset {offset + index} cannot be decoded "
        f"(name the file's encoding, such as --encoding {guess_encoding(raw)})"
    )


def take_sample(name: str, file: BinaryIO) -> FileSample:
    """Return a sample of a file that is at its start, and rewind it. A longer first line is in the sample entirely."""
    head = file.read(SAMPLE_BYTES)
    is_complete = len(head) < SAMPLE_BYTES
    if b"\n" not in head and not is_complete:
        head += file.readline(MAX_LINE_BYTES)
        is_complete = not head.endswith(b"\n") and len(head) < MAX_LINE_BYTES
    file.seek(0)
    return FileSample.of(name, head, is_complete=is_complete)
