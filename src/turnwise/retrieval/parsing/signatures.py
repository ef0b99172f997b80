"""Kinds of files that their first bytes identify, and advice on those that are not read."""

import re

from turnwise.core.errors import InvalidData

PDF_MARK = b"%PDF-"
PDF_HEADER_BYTES = 1024  # readers accept the mark anywhere in them
ZIP_MARK = b"PK\x03\x04"
_UNPACK = "It is compressed with {}. Unpack it first."
_SAVE_AS = "It is {}, which is not read. Save it as PDF, DOCX or text."
_REFUSED = (
    (b"\x1f\x8b", _UNPACK.format("gzip")),
    (b"BZh", _UNPACK.format("bzip2")),
    (b"\xfd7zXZ\0", _UNPACK.format("xz")),
    (b"\x28\xb5\x2f\xfd", _UNPACK.format("Zstandard")),
    (b"7z\xbc\xaf\x27\x1c", _UNPACK.format("7-Zip")),
    (b"Rar!\x1a\x07", _UNPACK.format("RAR")),
    (b"PK\x05\x06", "It is an empty zip archive."),
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "It is an Office file of the old format or with a password. Save it as DOCX or XLSX without a password.",
    ),
    (rb"{\rtf", _SAVE_AS.format("an RTF file")),
    (b"%!PS", _SAVE_AS.format("a PostScript file")),
    (b"\x89PNG\r\n", _SAVE_AS.format("an image")),
    (b"\xff\xd8\xff", _SAVE_AS.format("an image")),
    (b"GIF8", _SAVE_AS.format("an image")),
    (b"II*\0", _SAVE_AS.format("an image")),
    (b"MM\0*", _SAVE_AS.format("an image")),
    (b"\x7fELF", "It is a program, not a document."),
    (b"MZ\x90\0", "It is a program, not a document."),
    (b"SQLite format 3\0", "It is a database, not a document."),
)
# An XML file that is not XHTML: its tags would be indexed as if they were text.
_XML = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*<\?xml(?![^>]*\?>\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html)\b)", re.I | re.S
)


def is_binary_document(head: bytes) -> bool:
    """True for the first bytes of a PDF file or a zip archive, which office documents are."""
    return PDF_MARK in head[:PDF_HEADER_BYTES] or head.startswith(ZIP_MARK)


def check_readable(head: bytes) -> None:
    """Raise `InvalidData`, with advice, if the first bytes of a file are those of a kind that is not read."""
    for mark, sentence in _REFUSED:
        if head.startswith(mark):
            raise InvalidData(sentence)
    if _XML.match(head):
        raise InvalidData("It is an XML file, which is not read. Save it as HTML or text.")
