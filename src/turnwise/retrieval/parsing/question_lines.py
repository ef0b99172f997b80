"""Questions and answers in a text: lines that begin with "Q:" and "A:", or with the Chinese marks."""

import re
from collections.abc import Iterator

from turnwise.retrieval.parsed_document import Block
from turnwise.retrieval.parsing.document_source import DocumentNotes

MIN_PAIRS = 2
_BEFORE = r"\s*(?:[-*+]\s+|#{1,6}\s+|\d+[.)]\s+)?(\*\*|__)?"
_AFTER = r"\s*\d*\s*[:：.、](?:\1)?\s*"
_QUESTION = re.compile(rf"{_BEFORE}(?:Q|Question|问题|問題|问|問){_AFTER}(?=\S)", re.IGNORECASE)
_ANSWER = re.compile(rf"{_BEFORE}(?:A|Answer|答案|回答|答){_AFTER}", re.IGNORECASE)
_HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*\s*")


def has_question_lines(text: str) -> bool:
    """True if two questions or more, and as many answers, begin with a mark."""
    lines = text.splitlines()
    num_questions = sum(_QUESTION.match(line) is not None for line in lines)
    num_answers = sum(_ANSWER.match(line) is not None for line in lines)
    return min(num_questions, num_answers) >= MIN_PAIRS


def question_line_blocks(text: str, notes: DocumentNotes) -> Iterator[Block]:
    """Yield the pairs, the headings between them, and as paragraphs what belongs to no pair."""
    question: list[str] | None = None
    answer: list[str] | None = None
    current: list[str] = []
    for line in [*text.splitlines(), None]:
        question_mark = _QUESTION.match(line) if line is not None else None
        heading = _HEADING.fullmatch(line) if line is not None and question_mark is None else None
        if line is not None and (answer_mark := _ANSWER.match(line)) and question is not None and answer is None:
            current = answer = [_strip_mark(line, answer_mark)]
            continue
        if line is not None and not question_mark and not heading:
            current.append(line)
            continue
        yield from _pair_blocks(question, answer, current, notes)
        question = answer = None
        current = []
        if question_mark and line is not None:
            current = question = [_strip_mark(line, question_mark)]
        elif heading:
            yield Block("heading", heading[2], len(heading[1]))


def _pair_blocks(
    question: list[str] | None, answer: list[str] | None, current: list[str], notes: DocumentNotes
) -> Iterator[Block]:
    question_text, answer_text = ("\n".join(lines or ()).strip() for lines in (question, answer))
    if question_text and answer_text:
        yield Block("question", question_text)
        yield Block("answer", answer_text)
    elif question is not None:
        notes.warn("A question has no answer; it was read as a paragraph.")
        yield Block("paragraph", question_text or answer_text)
    else:
        for paragraph in re.split(r"\n\s*\n", "\n".join(current)):
            yield Block("paragraph", paragraph)


def _strip_mark(line: str, match: re.Match[str]) -> str:
    """The line without its mark and without the emphasis that begins before the mark."""
    rest = line[match.end() :].rstrip()
    emphasis = match[1]
    return rest.removesuffix(emphasis).rstrip() if emphasis and rest.count(emphasis) == 1 else rest
