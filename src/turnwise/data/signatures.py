"""Identifies files that hold no readable data by their first bytes, and says what to do about them."""

import zipfile
from typing import BinaryIO

MIN_TEXT_BYTES = 8
_UNKNOWN = "a binary file of an unknown kind: it holds bytes that are not text"
_IMAGE = "an image, which holds no text"
_MEDIA = "a sound or video file. Transcribe it first"
_ARCHIVE = "an archive ({0}). Unpack it and name the data file, or the folder"
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n", f"a PNG file, {_IMAGE}"),
    (b"\xff\xd8\xff", f"a JPEG file, {_IMAGE}"),
    (b"GIF8", f"a GIF file, {_IMAGE}"),
    (b"II*\0", f"a TIFF file, {_IMAGE}"),
    (b"MM\0*", f"a TIFF file, {_IMAGE}"),
    (b"%PDF", "a PDF. Copy its text into a .txt file, or export the data as CSV or JSONL"),
    (b"%!PS", "a PostScript file. Export its text"),
    (b"{\\rtf", "a Rich Text document. Save it as plain text (.txt)"),
    (b"SQLite format 3\0", "an SQLite database. Export the table: sqlite3 -header -csv FILE 'select …' > data.csv"),
    (b"7z\xbc\xaf\x27\x1c", _ARCHIVE.format("7z")),
    (b"Rar!", _ARCHIVE.format("RAR")),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x04\x22\x4d\x18", "compressed with lz4. Unpack it: unlz4 FILE"),
    (b"\x1f\x9d", "compressed with compress. Unpack it: gunzip FILE"),
    (b"\xd0\xcf\x11\xe0", "an old Microsoft Office file (.xls, .doc). Save it as CSV or as plain text"),
    (b"\x89HDF", "an HDF5 file. Export the table as CSV or Parquet"),
    (b"\x93NUMPY", "a NumPy array. Export the texts as JSONL or CSV"),
    (b"Obj\x01", "an Avro file. Export the table as JSONL or Parquet"),
    (b"ORC", "an ORC file. Export the table as Parquet"),
    (b"GGUF", "a model's weights (GGUF), not data"),
    (b"ID3", _MEDIA),
    (b"OggS", _MEDIA),
    (b"fLaC", _MEDIA),
    (b"\x1a\x45\xdf\xa3", _MEDIA),
    (b"\x7fELF", "a program, not data"),
)
_PICKLE = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_ZIP_MEMBERS = (
    ("xl/", "an Excel workbook. Save the sheet as CSV (UTF-8)"),
    ("word/", "a Word document. Save it as plain text (.txt)"),
    ("ppt/", "a PowerPoint file. Save its text as plain text (.txt)"),
    ("META-INF/container.xml", "an EPUB book. Convert it to plain text (.txt)"),
    ("content.xml", "an OpenDocument file. Save it as CSV or as plain text"),
)


def identify_file(head: bytes, file: BinaryIO) -> str | None:
    """Return a description with advice that completes the sentence "it is …"; None for a file that may hold data."""
    description = next((description for mark, description in _SIGNATURES if head.startswith(mark)), None)
    if description is not None:
        return description
    if head.startswith(_PICKLE):
        return "a Python pickle, which can run any code when it is loaded. Export the data as JSONL"
    if head.startswith(b"PK\x03\x04"):
        return _describe_zip(file)
    if head[:4] == b"RIFF":
        return f"a WebP file, {_IMAGE}" if head[8:12] == b"WEBP" else _MEDIA
    if head[4:8] == b"ftyp":
        return _MEDIA
    if head[257:262] == b"ustar":
        return _ARCHIVE.format("tar")
    if head.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        return "a web page. The download may have failed; otherwise save its text as plain text (.txt)"
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the data itself. Fetch the file: git lfs pull"
    return _describe_binary(head)


def _describe_zip(file: BinaryIO) -> str:
    try:
        names = zipfile.ZipFile(file).namelist()
    except (zipfile.BadZipFile, OSError):
        return "a damaged zip archive"
    finally:
        file.seek(0)
    for prefix, description in _ZIP_MEMBERS:
        if any(name.startswith(prefix) for name in names):
            return description
    return _ARCHIVE.format("zip")


def _describe_binary(head: bytes) -> str | None:
    """Describe UTF-16 or UTF-32 without a byte order mark, and binary data; None for text in other encodings."""
    if b"\0" not in head or head.startswith((b"PAR1", b"ARROW1", b"\xff\xff\xff\xff")):
        return None
    if len(head) < MIN_TEXT_BYTES or not any(byte in head for byte in b" \n\r,"):
        return _UNKNOWN
    # ASCII characters have one zero byte in UTF-16 and three in UTF-32; its position shows the byte order.
    even, odd = head[0::2].count(0), head[1::2].count(0)
    half = max(1, len(head) // 2)
    if odd > 0.4 * half and even < 0.1 * half and head[2:3] != b"\0":
        return "text in UTF-16 without a byte order mark. Use --encoding utf-16-le"
    if even > 0.4 * half and odd < 0.1 * half and head[:2] != b"\0\0":
        return "text in UTF-16 without a byte order mark. Use --encoding utf-16-be"
    if even + odd > 1.3 * half and len(head) % 4 == 0:
        order = "be" if head[:1] == b"\0" else "le"
        return f"text in UTF-32 without a byte order mark. Use --encoding utf-32-{order}"
    return _UNKNOWN
