"""Recognizes the encoding of text files, and checks every byte before a parser reads the first.

A byte order mark decides; without one, UTF-8 if all of the file is. Only then the encoding is guessed, among those
below. A file that is UTF-8 except for a few bytes is damaged: it is refused, because the guess would turn all its
letters into others.
"""

import codecs
import re
from dataclasses import dataclass
from pathlib import Path

from turnwise.core.errors import InvalidData

CHUNK_BYTES = 2**20
SAMPLE_BYTES = 2**14  # read by the guess; more makes it slow, not better
MIN_COMMON_SHARE = 0.3  # of the Chinese characters of a text are in `_COMMON_CHINESE`, if the encoding is right
ENCODING_NAMES = {"gb18030": "GB18030", "big5": "Big5", "cp1252": "windows-1252"}
# UTF-32 comes first: its little-endian mark starts with that of UTF-16.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
_DECLARATION = re.compile(
    rb"""<(?:meta[^>]+charset|\?xml[^>]+encoding)\s*=\s*["']?\s*([\w.:-]{1,40})""", re.IGNORECASE | re.ASCII
)
_CONTINUATION = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_CHINESE = re.compile("[\u3400-\u9fff]")
_COMMON_CHINESE = frozenset(
    "的一是不了在有人我他这中大来上个国到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可里后小么心多天而能好都"
    "然没日于起还发成事只作当想看文无开手用主行方又如前所本见经头面公同三已老从动两长知民样现分将外但身些与高意进把法此实"
    "回二理美点月明其种声全工己话儿者向情部正名定女问力机给等几很业最间新什打便位因重被走电四第门相次东政海口使教西再平真"
    "听世气信北少关并内加化由却代军产入先山五太水万市司请单货品订付款退换服务客户时间电话"
    "這來個國說們為時會過學對裡後麼沒於還發當開經頭見動兩長樣現將與進實話從給種關請單貨訂務產門電東間點機業問題"
)


@dataclass(frozen=True, slots=True)
class TextEncoding:
    """The encoding of a file, all of whose bytes it decodes.

    Attributes:
        name: name of the Python codec, which removes a byte order mark.
        warning: a sentence if the encoding was guessed; empty otherwise.
    """

    name: str
    warning: str = ""


def declared_encoding(head: bytes) -> str | None:
    """The encoding that an HTML page states in its first bytes; None without such a statement."""
    match = _DECLARATION.search(head)
    return match[1].decode("ascii") if match else None


def detect_encoding(path: Path, declared: str | None = None) -> TextEncoding:
    """The encoding that decodes all of a file.

    Args:
        path: the file.
        declared: encoding that the document itself states. It is used if it decodes the file.

    Raises:
        InvalidData: the file is not text, or no encoding decodes it; the message has the position of the first byte
            that cannot be decoded.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(4)
    for mark, name in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            if (position := invalid_byte(path, name)) is not None:
                raise _undecodable(position, "UTF-8" if name == "utf-8-sig" else name.upper())
            return TextEncoding(name)
    if (zero := _find_zero(path)) is not None:
        raise InvalidData(f"It is not a text: byte {zero:,} is zero. (UTF-16 is read if it begins with its mark.)")
    utf8_position = invalid_byte(path, "utf-8")
    if utf8_position is None:
        return TextEncoding("utf-8")
    if declared is not None and _is_ascii_superset(declared) and invalid_byte(path, declared) is None:
        return TextEncoding(declared)
    if _is_damaged_utf8(path, utf8_position):
        raise _undecodable(utf8_position, "UTF-8")
    return _guess(path, utf8_position)


def invalid_byte(path: Path, encoding: str) -> int | None:
    """Position of the first byte of a file that an encoding does not decode; None if it decodes all."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    num_bytes = 0
    with path.open("rb") as file:
        while True:
            chunk = file.read(CHUNK_BYTES)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                return num_bytes + len(chunk) - len(error.object) + error.start
            except UnicodeError:  # UTF-16 and UTF-32 without a mark
                return 0
            if not chunk:
                return None
            num_bytes += len(chunk)


def _undecodable(position: int, encoding: str) -> InvalidData:
    return InvalidData(f"It is not valid {encoding}: byte {position:,} cannot be decoded. Save it as UTF-8.")


def _is_ascii_superset(encoding: str) -> bool:
    """True for an encoding that Python knows as one of text and in which ASCII is itself."""
    try:
        return "<a>".encode(encoding) == b"<a>"
    except (LookupError, UnicodeError, ValueError):
        return False


def _find_zero(path: Path) -> int | None:
    position = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            if (offset := chunk.find(0)) >= 0:
                return position + offset
            position += len(chunk)
    return None


def _sample(path: Path, position: int) -> bytes:
    """Bytes around the first one that is not UTF-8, from the beginning of a line if there is one near."""
    with path.open("rb") as file:
        start = max(0, position - SAMPLE_BYTES // 8)
        file.seek(start)
        raw = file.read(SAMPLE_BYTES)
    return raw if start == 0 else raw[raw.find(b"\n") + 1 :]


def _is_damaged_utf8(path: Path, position: int) -> bool:
    """True if more of the letters are valid UTF-8 than not; in no other encoding such pairs of bytes are common."""
    with path.open("rb") as file:
        file.seek(max(0, position - CHUNK_BYTES // 2))
        raw = file.read(CHUNK_BYTES)
    rest, num_valid = _CONTINUATION.subn(b"", raw)
    num_invalid = len(re.findall(rb"[\x80-\xff]", rest))
    return num_valid > num_invalid


def _guess(path: Path, utf8_position: int) -> TextEncoding:
    from charset_normalizer import from_bytes

    sample = _sample(path, utf8_position)
    names = [name for name in ("gb18030", "big5") if _common_share(sample, name) >= MIN_COMMON_SHARE]
    names.sort(key=lambda name: _common_share(sample, name), reverse=True)
    names += [match.encoding for match in from_bytes(sample, cp_isolation=list(ENCODING_NAMES))]
    positions = {}
    for name in dict.fromkeys(names):
        position = invalid_byte(path, name)
        if position is None:
            title = ENCODING_NAMES.get(name, name)
            return TextEncoding(name, f"It is not UTF-8; it was read as {title}, which is a guess.")
        positions[name] = position
    if not positions:
        raise _undecodable(utf8_position, "UTF-8")
    name = max(positions, key=positions.__getitem__)
    raise _undecodable(positions[name], ENCODING_NAMES.get(name, name))


def _common_share(raw: bytes, encoding: str) -> float:
    """Share of the most common ones among the Chinese characters of a sample; 0 if it has none."""
    characters = _CHINESE.findall(raw.decode(encoding, errors="ignore"))
    return sum(character in _COMMON_CHINESE for character in characters) / len(characters) if characters else 0.0
