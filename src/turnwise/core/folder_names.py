"""Folder names for names of models: different names have different folders, also if the file system ignores case."""

import hashlib
import re
import string

MAX_CHARS = 200  # of a folder name; file systems allow 255 bytes
_PLAIN = frozenset((string.ascii_lowercase + string.digits + "_-").encode())
_UPPER = frozenset(string.ascii_uppercase.encode())
_CAPITAL = re.compile(r"\+([a-z])")


def folder_name(name: str) -> str:
    """The folder name of a name. Names of small letters, digits, ".", "-" and "_" stay as they are.

    A capital letter is "+" and the small letter, another byte of UTF-8 is "%" and two hexadecimal digits. Longer names
    end with a digest.
    """
    encoded = "".join(_encode(byte, is_first=i == 0) for i, byte in enumerate(name.encode("utf-8", "surrogatepass")))
    if len(encoded) <= MAX_CHARS:
        return encoded or "%"
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{encoded[: MAX_CHARS - len(digest) - 1]}={digest}"


def decode_folder_name(folder: str) -> str:
    """The name of a model with versions, whose folder name `folder_name` gave."""
    return _CAPITAL.sub(lambda match: match[1].upper(), folder)


def _encode(byte: int, *, is_first: bool) -> str:
    if byte in _PLAIN or (byte == ord(".") and not is_first):
        return chr(byte)
    return f"+{chr(byte).lower()}" if byte in _UPPER else f"%{byte:02x}"
