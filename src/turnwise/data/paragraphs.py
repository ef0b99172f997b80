"""Groups the lines of a text file into paragraphs."""

import re
from collections.abc import Iterable, Iterator

from turnwise.data.rows import BadRow, NumberedLine

_RULE = re.compile(r"\s*(?:[-=_*~#]\s?){3,}\s*")


class Paragraph(list[NumberedLine]):
    """Consecutive lines that are not blank. `is_apart` is True after a rule or more than one blank line."""

    is_apart = False


def split_paragraphs(lines: Iterable[NumberedLine]) -> Iterator[Paragraph]:
    """Yield the paragraphs between blank lines; lines that could not be decoded are part of their paragraph."""
    paragraph, num_blank = Paragraph(), 0
    for line in lines:
        if isinstance(line, BadRow) or line[1].strip():
            if not paragraph:
                paragraph.is_apart = num_blank > 1
            paragraph.append(line)
            num_blank = 0
            continue
        num_blank += 1
        if paragraph:
            yield paragraph
            paragraph = Paragraph()
    if paragraph:
        yield paragraph


def split_at_rules(paragraphs: Iterable[Paragraph]) -> Iterator[Paragraph]:
    """Split paragraphs at lines such as "---", which are dropped; what follows a rule is apart."""
    is_after_rule = False
    for lines in paragraphs:
        paragraph = Paragraph()
        paragraph.is_apart = lines.is_apart or is_after_rule
        is_after_rule = False
        for line in lines:
            if isinstance(line, BadRow) or _RULE.fullmatch(line[1]) is None:
                paragraph.append(line)
                continue
            if paragraph:
                yield paragraph
            paragraph, is_after_rule = Paragraph(), True
            paragraph.is_apart = True
        if paragraph:
            is_after_rule = False
            yield paragraph
