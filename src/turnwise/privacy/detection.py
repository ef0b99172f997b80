"""Detection of personal data with all detectors: overlaps are resolved, and placeholders are left alone."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

from turnwise.core.personal_data import PersonalDataDetector, PersonalDataKind, PersonalSpan
from turnwise.privacy.detectors import load_detectors
from turnwise.privacy.name_tagger import load_bundled_tagger
from turnwise.privacy.tagger_features import PLACEHOLDER

# Kinds with a check digit or a distinctive form win over all others; then longer spans win.
_CERTAIN: frozenset[PersonalDataKind] = frozenset(
    {"secret", "url", "email", "iban", "card", "id_number", "company_id", "phone", "plate"}
)
MAX_CHARS = 100_000  # of a text that is searched at once
_CHUNK_OVERLAP = 2_000
# Chinese texts have punctuation, letters and digits of full width. Detectors get the narrow ones, one for one.
_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: " "}


class CombinedDetector:
    """Detects personal data with several detectors.

    Args:
        detectors: the detectors. Default: those by rules and the tagger of names and addresses. Their spans are
            preferred in the order of certainty and length.
        public: texts that are no personal data, such as the address of a shop, in any case.
    """

    def __init__(self, detectors: Sequence[PersonalDataDetector] | None = None, public: Collection[str] = ()) -> None:
        """Use the detectors. Raises `UserError` if a library of the extra `privacy` is missing."""
        self._detectors = (*load_detectors(), load_bundled_tagger()) if detectors is None else tuple(detectors)
        longest_first = sorted(filter(None, map(str.strip, public)), key=len, reverse=True)
        texts = "|".join(re.escape(text.translate(_NARROW)) for text in longest_first)
        pattern = rf"(?<![A-Za-z0-9])(?:{texts})(?![A-Za-z0-9])"
        self._public = re.compile(pattern, re.IGNORECASE) if texts else None

    def detect(self, text: str) -> list[PersonalSpan]:
        """Spans of personal data in order, without overlaps and without placeholders such as `[NAME_1]`.

        Characters of full width (U+FF01 to U+FF5E) count as the ASCII characters that they look like.
        """
        matches = () if self._public is None else self._public.finditer(text.translate(_NARROW))
        return resolve_overlaps(text, self._candidates(text), [match.span() for match in matches])

    def _candidates(self, text: str) -> Iterator[PersonalSpan]:
        text = text.translate(_NARROW)
        for start in range(0, max(1, len(text) - _CHUNK_OVERLAP), MAX_CHARS - _CHUNK_OVERLAP):
            chunk = text[start : start + MAX_CHARS]
            for detector in self._detectors:
                for span in detector.detect(chunk):
                    yield PersonalSpan(span.start + start, span.end + start, span.kind)


def resolve_overlaps(
    text: str, candidates: Iterable[PersonalSpan], public: Sequence[tuple[int, int]] = ()
) -> list[PersonalSpan]:
    """Spans in order, without overlaps.

    Of two spans that overlap, the more certain or the longer one wins. What the other one has beyond it stays a span
    of its own, so that nothing that was detected is left out. Placeholders and `public` ranges are cut out in the same
    way.
    """
    taken = [*public, *(match.span() for match in PLACEHOLDER.finditer(text))]
    ranked = sorted(set(candidates), key=lambda span: (span.kind not in _CERTAIN, span.start - span.end, span))
    resolved = []
    for candidate in ranked:
        for start, end in _subtract(candidate.start, candidate.end, taken):
            start, end = _trim(text, start, end)
            is_complete = end - start == candidate.end - candidate.start
            if start < end and (is_complete or _is_substantial(text[start:end], candidate.kind)):
                resolved.append(PersonalSpan(start, end, candidate.kind))
        taken.append((candidate.start, candidate.end))
    return sorted(resolved)


def _subtract(start: int, end: int, taken: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The parts of start:end that no range of `taken` covers."""
    parts = [(start, end)]
    for low, high in taken:
        if low < end and start < high:
            halves = [half for start, end in parts for half in ((start, min(end, low)), (max(start, high), end))]
            parts = [(start, end) for start, end in halves if start < end]
    return parts


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """The range without white space at its ends."""
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end


def _is_substantial(value: str, kind: PersonalDataKind) -> bool:
    """True for a rest that may tell something: two letters or digits, of an address a digit."""
    if kind == "address":
        return any(character.isdigit() for character in value)
    return sum(character.isalnum() for character in value) >= 2
