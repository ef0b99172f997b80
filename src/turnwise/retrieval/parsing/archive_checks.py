"""Checks of office documents, which are zip archives of XML files, before a library unpacks them."""

import re
import zipfile
import zlib
from pathlib import Path

from turnwise.core.errors import InvalidData
from turnwise.retrieval.parsing import limits

CHUNK_BYTES = 2**16
# "<!DOCTYPE" and "<!ENTITY" in UTF-8 and in both orders of UTF-16. Office documents never have them, and in the text
# of an XML file "<" is written "&lt;".
_DECLARATION = re.compile(
    b"|".join(
        re.escape(f"<!{word}".encode(encoding))
        for word in ("DOCTYPE", "ENTITY")
        for encoding in ("utf-8", "utf-16-le", "utf-16-be")
    )
)
_LONGEST_DECLARATION = 2 * len("<!DOCTYPE")


def has_entry(path: Path, entry: str) -> bool:
    """True if a zip archive has an entry of this name; False also if the archive is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return entry in archive.NameToInfo
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def check_archive(path: Path) -> None:
    """Check an office document.

    Raises:
        InvalidData: it is damaged or encrypted, has too many entries, unpacks to too many bytes (a zip bomb), or its
            XML declares entities (an XML bomb, or a reference to another file).
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_sizes(entries, path.stat().st_size)
            for entry in entries:
                if entry.filename.lower().endswith((".xml", ".rels", ".vml")):
                    _check_xml(archive, entry)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError, UnicodeError) as error:
        if isinstance(error, InvalidData):
            raise
        raise InvalidData(f"Its archive is damaged ({error}).") from error


def _check_sizes(entries: list[zipfile.ZipInfo], archive_bytes: int) -> None:
    if len(entries) > limits.MAX_ARCHIVE_ENTRIES:
        raise InvalidData(f"Its archive has {len(entries):,} entries; at most {limits.MAX_ARCHIVE_ENTRIES:,} are read.")
    total = sum(entry.file_size for entry in entries)
    if total > limits.MAX_ARCHIVE_BYTES:
        raise InvalidData(
            f"Its archive unpacks to {total:,} bytes; at most {limits.MAX_ARCHIVE_BYTES:,} are read (a zip bomb?)."
        )
    for entry in entries:
        if entry.flag_bits & 1:
            raise InvalidData("It is encrypted. Save it without a password.")
        is_bomb = entry.file_size > limits.MAX_ARCHIVE_RATIO * max(1, entry.compress_size)
        if entry.file_size > limits.FREE_ARCHIVE_BYTES and is_bomb:
            raise _bomb(entry.file_size, entry.compress_size)
    if total > limits.FREE_ARCHIVE_BYTES and total > limits.MAX_ARCHIVE_RATIO * archive_bytes:
        raise _bomb(total, archive_bytes)  # entries that share their bytes


def _bomb(size: int, compressed_size: int) -> InvalidData:
    return InvalidData(
        f"Its archive unpacks {compressed_size:,} bytes to {size:,}; more than {limits.MAX_ARCHIVE_RATIO} times as "
        "many are not read (a zip bomb?)."
    )


def _check_xml(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """Raise `InvalidData` if an XML file declares a document type or an entity."""
    tail = b""
    with archive.open(entry) as file:
        while chunk := file.read(CHUNK_BYTES):
            if _DECLARATION.search(tail + chunk):
                raise InvalidData("Its XML declares a document type or an entity, which no office program writes.")
            tail = chunk[-_LONGEST_DECLARATION:]
