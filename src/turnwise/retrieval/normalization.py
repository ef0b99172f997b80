"""Normalizes text for indexing and keeps a map to the original: the ligature "ﬁ" is found by "fi".

The form is NFKC with case folding, without characters that readers do not see, such as soft hyphens (compare
NFKC_Casefold of the Unicode standard). Positions in the normalized text are mapped to those of the characters that they
come from, so that a passage is cited as it was written.
"""

import re
import unicodedata
from array import array
from dataclasses import dataclass
from functools import cache, lru_cache

INVISIBLE = frozenset("\u00ad\u034f\u200b\u200c\u200d\u2060\ufe0e\ufe0f\ufeff")
FIRST_JOINING, LAST_JOINING = 0x300, 0x1FFFF  # codes among which all characters are that compose with one before them
MAX_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class NormalizedText:
    """A normalized text.

    Attributes:
        text: the normalized text.
        starts: for every character, where the original characters begin that it comes from.
        ends: for every character, where they end.
    """

    text: str
    starts: "array[int] | range"
    ends: "array[int] | range"

    def original_span(self, start: int, end: int) -> tuple[int, int]:
        """Start and end in the original of the normalized characters `start` up to `end`.

        Args:
            start: position of the first character.
            end: position after the last one, not before `start`.

        Raises:
            IndexError: the positions are outside of the text.
        """
        if not 0 <= start <= end <= len(self.text):
            raise IndexError(f"{start} to {end} is outside of a text of {len(self.text)} characters")
        if start == end:
            position = self.starts[start] if start < len(self.text) else (self.ends[-1] if self.text else 0)
            return position, position
        return self.starts[start], self.ends[end - 1]


def normalize(text: str) -> NormalizedText:
    """Normalize a text for indexing, or a query."""
    if text.isascii():
        return NormalizedText(text.lower(), range(len(text)), range(1, len(text) + 1))
    pieces: list[str] = []
    starts, ends = array("q"), array("q")
    for match in _cluster_pattern().finditer(text):
        piece = _normalize_cluster(match.group())
        pieces.append(piece)
        starts.extend([match.start()] * len(piece))
        ends.extend([match.end()] * len(piece))
    return NormalizedText("".join(pieces), starts, ends)


@lru_cache(maxsize=2**14)
def _normalize_cluster(cluster: str) -> str:
    """Normalize a character with its marks. Folding can undo the normal form, so both are repeated."""
    text = "".join(character for character in cluster if character not in INVISIBLE)
    for _ in range(MAX_ROUNDS):
        before, text = text, unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        if text == before:
            break
    return text


@cache
def _cluster_pattern() -> re.Pattern[str]:
    """A character and all after it that can become one character with it, so that clusters are normalized alone.

    These are combining marks, characters whose compatibility form begins with one, the vowels and last consonants of
    Hangul, and a few vowel signs of Indic scripts that are no combining marks but compose all the same.
    """
    codes = [code for code in range(FIRST_JOINING, LAST_JOINING + 1) if not 0xD800 <= code <= 0xDFFF]
    decompositions = [unicodedata.decomposition(chr(code)) for code in codes]
    composing = {
        chr(int(parts[1], 16)) for text in decompositions if len(parts := text.split()) == 2 and "<" not in text
    }
    composing |= set(map(chr, range(0x1161, 0x1176))) | set(map(chr, range(0x11A8, 0x11C3)))
    joining = set(INVISIBLE)
    for code, decomposition in zip(codes, decompositions, strict=True):
        first = unicodedata.normalize("NFKD", chr(code))[0] if decomposition else chr(code)
        if unicodedata.combining(first) or first in composing:
            joining.add(chr(code))
    return re.compile(f".[{re.escape(''.join(sorted(joining)))}]*", re.DOTALL)
