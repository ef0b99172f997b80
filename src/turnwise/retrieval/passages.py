"""Divides a document into passages by its structure.

Blocks are packed into passages of `min_tokens` to `max_tokens`. A passage ends at a heading, unless its section is
tiny, or goes on with a subsection and is still short. A heading stays with what follows it, and a question with its
answer, which are a passage of their own. Blocks are cut only if they are too long: prose after sentences, code after
lines, rows of tables after cells.

Every passage is a part of the document's text, and together the passages have all of it except white space.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile

from turnwise.core.errors import InvalidParameter
from turnwise.retrieval.parsed_document import Block, PassageSpan
from turnwise.retrieval.passage_units import DocumentUnits, PassageUnit
from turnwise.retrieval.token_estimate import estimate_tokens

MIN_MAX_TOKENS = 8


@dataclass(frozen=True, slots=True)
class PassageSizes:
    """Sizes of passages in tokens. The defaults are 120 and 220 words of English.

    Attributes:
        min_tokens: a passage that is smaller goes on with a subsection, and takes text from the one before it.
        max_tokens: no passage is larger.
        tiny_tokens: a passage that is smaller goes on with the next section.
    """

    min_tokens: int = 156
    max_tokens: int = 286
    tiny_tokens: int = 40

    def __post_init__(self) -> None:
        if self.max_tokens < MIN_MAX_TOKENS:
            raise InvalidParameter("max_tokens", f"'max_tokens' of passages should be at least {MIN_MAX_TOKENS}.")
        if not 0 <= self.tiny_tokens <= self.min_tokens <= self.max_tokens:
            raise InvalidParameter(
                "min_tokens", "'tiny_tokens', 'min_tokens' and 'max_tokens' should be in this order."
            )


@dataclass(frozen=True, slots=True)
class DocumentPassage:
    """A passage: its text, and where it stands in the text of the document."""

    text: str
    span: PassageSpan


def divide_into_passages(
    blocks: Iterable[Block],
    sizes: PassageSizes | None = None,
    count_tokens: Callable[[str], float] = estimate_tokens,
) -> Iterator[DocumentPassage]:
    """Yield the passages of a document in order. Holds a few passages in memory, however long the document is.

    Args:
        blocks: the blocks of the document in reading order. Positions refer to `ParsedDocument.text`.
        sizes: sizes of passages. Default: 120 to 220 words.
        count_tokens: counts tokens of a text, as the embedding model does. Two parts of a text should have at least as
            many as the whole; otherwise a passage may be larger than `max_tokens` by the difference.
    """
    sizes = sizes or PassageSizes()
    packer = _Packer(sizes)
    for unit in DocumentUnits(sizes.max_tokens, count_tokens).units(blocks):
        yield from map(_passage, packer.add(unit))
    yield from map(_passage, packer.finish())


class _Packer:
    """Collects units of the current passage, and holds back the passage before it, from which it may take units."""

    def __init__(self, sizes: PassageSizes) -> None:
        self._sizes = sizes
        self._held: list[PassageUnit] = []  # complete, ended because the next unit did not fit
        self._current: list[PassageUnit] = []

    def add(self, unit: PassageUnit) -> Iterator[list[PassageUnit]]:
        """Add the next unit; yield the passages that are complete."""
        if self._current and self._ends_before(unit):
            yield from self._end_section()
        if _num_tokens(self._current) + unit.num_tokens > self._sizes.max_tokens:
            tail = self._take_tail(unit.num_tokens)
            if self._held:
                yield self._held
            self._held, self._current = self._current, tail
        self._current.append(unit)

    def finish(self) -> Iterator[list[PassageUnit]]:
        """Yield the last passages."""
        yield from self._end_section()

    def _ends_before(self, unit: PassageUnit) -> bool:
        """True if the structure of the document ends the current passage, though the unit may fit."""
        last = self._current[-1]
        if last.kind == "answer":
            return unit.kind != "answer"
        if unit.kind == "question":
            return not last.stays_with_next
        body = next((current for current in self._current if current.kind != "heading"), None)
        if unit.kind != "heading" or unit.is_continuation or body is None:
            return False
        if self._held:  # the section is long, so its end is balanced with the passage before
            return True
        num_tokens = _num_tokens(self._current)
        is_subsection = unit.level > body.section_level
        return num_tokens >= (self._sizes.min_tokens if is_subsection else self._sizes.tiny_tokens)

    def _end_section(self) -> Iterator[list[PassageUnit]]:
        """Yield the held and the current passage, with their sizes balanced."""
        if self._held and self._current:
            self._balance()
        if self._held:
            yield self._held
        if self._current:
            yield self._current
        self._held, self._current = [], []

    def _balance(self) -> None:
        """Move units from the end of the held passage to a current one that is too short."""
        num_held, num_current = _num_tokens(self._held), _num_tokens(self._current)
        if num_held + num_current <= self._sizes.max_tokens:
            self._held, self._current = [], self._held + self._current
            return
        while len(self._held) > 1 and num_current < self._sizes.min_tokens:
            size = self._held[-1].num_tokens
            if num_current + size > self._sizes.max_tokens or num_held - size < num_current + size:
                return
            if self._held[-2].stays_with_next:
                return
            self._current.insert(0, self._held.pop())
            num_held, num_current = num_held - size, num_current + size

    def _take_tail(self, num_tokens: float) -> list[PassageUnit]:
        """Remove the units at the end of the current passage that stay with the next unit, if they fit beside it."""
        index = len(self._current)
        while index > 0 and self._current[index - 1].stays_with_next:
            index -= 1
        tail = self._current[index:]
        if index == 0 or _num_tokens(tail) + num_tokens > self._sizes.max_tokens:
            return []
        del self._current[index:]
        return tail


def _num_tokens(units: list[PassageUnit]) -> float:
    return sum(unit.num_tokens for unit in units)


def _passage(units: list[PassageUnit]) -> DocumentPassage:
    text = units[0].text + "".join(unit.gap + unit.text for unit in units[1:])
    paths = [unit.path for unit in units if unit.kind != "heading"] or [unit.path for unit in units]
    shared = takewhile(lambda headings: len(set(headings)) == 1, zip(*paths, strict=False))
    headings = tuple(headings[0].text for headings in shared)
    return DocumentPassage(text, PassageSpan(units[0].start, units[0].start + len(text), headings, units[0].page))
