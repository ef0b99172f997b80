"""What a parser makes of a document: its text, in blocks of known kind and position."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

BlockKind = Literal["heading", "paragraph", "list_item", "table_row", "code", "question", "answer"]
BLOCK_SEPARATOR = "\n\n"


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a document that is not divided unless it is too long for a passage.

    Attributes:
        kind: what the block is. A `question` is followed by its `answer`.
        text: the text, valid Unicode in its original form (not normalized), without outer white space, never empty.
            A table row names its columns: "Price: 12 EUR | Colour: red".
        level: level of a heading, 1 to 6; of other blocks 0.
        page: page of a document that has pages, from 1; None otherwise.
    """

    kind: BlockKind
    text: str
    level: int = 0
    page: int | None = None


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """A document's text and structure.

    Attributes:
        blocks: the blocks in reading order. None: the document has no text.
        title: title by its own metadata or first heading; empty if it has none.
        warnings: sentences about what was not read, for example "Page 3 is an image without text."
    """

    blocks: Sequence[Block]
    title: str = ""
    warnings: Sequence[str] = ()

    @property
    def text(self) -> str:
        """The texts of the blocks, joined by `BLOCK_SEPARATOR`. Positions of passages refer to it."""
        return BLOCK_SEPARATOR.join(block.text for block in self.blocks)


@dataclass(frozen=True, slots=True)
class PassageSpan:
    """A part of a document's text that is found and cited as one.

    Attributes:
        start: position of the first character in `ParsedDocument.text`.
        end: position after the last character.
        headings: the headings of the sections that the passage is a part of, outermost first. They include a heading
            with which the passage begins, but not those of several sections of which it has all.
        page: page of the first character; None if the document has no pages.
    """

    start: int
    end: int
    headings: tuple[str, ...] = ()
    page: int | None = None
