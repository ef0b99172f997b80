"""Units of which passages are made: blocks, and parts of blocks that are too long."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from turnwise.retrieval.parsed_document import BLOCK_SEPARATOR, Block, BlockKind
from turnwise.retrieval.text_boundaries import Span, cell_spans, line_spans, sentence_spans, window_spans

MAX_HEADING_CHARACTERS = 200  # of a heading above a passage
MAX_CHARACTERS_PER_TOKEN = 64  # a text of more is not counted, it is too long


@dataclass(frozen=True, slots=True)
class SectionHeading:
    """A heading above a unit. Two sections may have the same heading; `start` tells them apart."""

    text: str
    level: int
    start: int


@dataclass(frozen=True, slots=True)
class PassageUnit:
    """A block or a part of one, which is not cut any more.

    Attributes:
        text: the text, without outer white space.
        gap: what stands between the unit before and this one: white space.
        start: position of the text in the document.
        num_tokens: number of its tokens.
        kind: kind of the block.
        level: level of a heading, otherwise 0.
        page: page of the block.
        path: the headings above it; of a heading, with itself.
        is_continuation: it is not the first unit of its block.
    """

    text: str
    gap: str
    start: int
    num_tokens: float
    kind: BlockKind
    level: int
    page: int | None
    path: tuple[SectionHeading, ...]
    is_continuation: bool

    @property
    def stays_with_next(self) -> bool:
        """True for what makes no sense at the end of a passage: headings, questions, the beginning of a list."""
        return self.kind in ("heading", "question") or (self.kind == "paragraph" and self.text[-1] in ":：")

    @property
    def section_level(self) -> int:
        """Level of the heading of its section; 0 outside of all sections."""
        return self.path[-1].level if self.path else 0


class DocumentUnits:
    """Turns the blocks of a document into units.

    Args:
        max_tokens: a block with more tokens is cut.
        count_tokens: counts the tokens of a text.
    """

    def __init__(self, max_tokens: int, count_tokens: Callable[[str], float]) -> None:
        self._max_tokens, self._count_tokens = max_tokens, count_tokens
        self._path: tuple[SectionHeading, ...] = ()
        self._num_leading = 0.0  # tokens of the units before, that stay with the next one

    def units(self, blocks: Iterable[Block]) -> Iterator[PassageUnit]:
        """Yield the units of the blocks in order."""
        start = 0
        for block in blocks:
            if block.kind == "heading":
                heading = SectionHeading(block.text[:MAX_HEADING_CHARACTERS], block.level, start)
                self._path = (*(above for above in self._path if above.level < block.level), heading)
            yield from self._block_units(block, start)
            start += len(block.text) + len(BLOCK_SEPARATOR)

    def _block_units(self, block: Block, block_start: int) -> Iterator[PassageUnit]:
        # What stays with the block has to fit into the passage, too. If it is long, no more than half is left for it.
        limit = self._max_tokens - min(self._num_leading, self._max_tokens / 2)
        end = 0
        for first, last, num_tokens in self._pieces(block, limit):
            gap = block.text[end:first] if end else BLOCK_SEPARATOR
            unit = PassageUnit(
                block.text[first:last], gap, block_start + first, num_tokens, block.kind, block.level, block.page,
                self._path, is_continuation=end > 0,
            )  # fmt: skip
            self._num_leading = self._num_leading + num_tokens if unit.stays_with_next else 0.0
            yield unit
            end = last

    def _pieces(self, block: Block, limit: float) -> Iterator[tuple[int, int, float]]:
        """Yield start, end and number of tokens of the parts of a block; one if it has at most `limit` tokens."""
        text = block.text
        if (num_tokens := self._count(text, 0, len(text))) <= limit:
            yield 0, len(text), num_tokens
            return
        for start, end in self._spans(block):
            if (num_tokens := self._count(text, start, end)) <= limit:
                yield start, end, num_tokens
                continue
            for first, last in window_spans(text, start, end, limit, self._count_tokens):
                yield first, last, self._count_tokens(text[first:last])

    def _count(self, text: str, start: int, end: int) -> float:
        """Number of tokens of a part of a text; infinite if it is much too long for a passage."""
        if end - start > MAX_CHARACTERS_PER_TOKEN * self._max_tokens:
            return float("inf")
        return self._count_tokens(text[start:end])

    def _spans(self, block: Block) -> Iterator[Span]:
        match block.kind:
            case "code":
                return line_spans(block.text)
            case "table_row":
                return cell_spans(block.text)
            case _:
                return sentence_spans(block.text)
