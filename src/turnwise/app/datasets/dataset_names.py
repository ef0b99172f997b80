"""Names of uploaded data sets. A name is a file name, so that its suffix tells the format."""

import unicodedata
from collections.abc import Iterable

from turnwise.core.errors import InvalidParameter

MAX_NAME_BYTES = 200  # file systems allow 255; the names of temporary folders are longer
_RESERVED = frozenset('/\\<>:"|?*')  # on some system


def check_dataset_name(name: str, taken: Iterable[str] = ()) -> str:
    """The name in normal form (NFC).

    Raises `InvalidParameter` if it cannot be a file name on every system, or equals one in `taken`, ignoring case.
    """
    normal = unicodedata.normalize("NFC", name)
    if not normal.isprintable() or not normal or len(normal.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        raise InvalidParameter("filename", f"A name has 1 to {MAX_NAME_BYTES} bytes of printable characters.")
    if normal[0] in ". " or normal[-1] in ". " or _RESERVED.intersection(normal):
        raise InvalidParameter(
            "filename",
            f"The name {normal!r} is not allowed: it must not start or end with a dot or a space, or have one of "
            f"{' '.join(sorted(_RESERVED))}.",
        )
    if comparable_name(normal) in map(comparable_name, taken):
        raise InvalidParameter(
            "filename", f"There is a data set '{normal}' already. Delete it first, or use another name."
        )
    return normal


def comparable_name(name: str) -> str:
    """The same text for names that some file system does not tell apart."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
