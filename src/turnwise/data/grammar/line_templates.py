r"""Line templates with alternatives and slots: `hello[| there], {name}` renders to one of several texts.

`[a|b|c]` is one of its alternatives, which may be empty and may nest; `{name}` is the value of this slot in the
dialogue; a backslash before one of ``[ ] { } | \`` makes it an ordinary character.
"""

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

SPECIAL = "[]{}|\\"


@dataclass(frozen=True, slots=True)
class TemplateSpan:
    """A part of a rendered line. `slot` is True for a slot's value, which typing noise leaves unchanged."""

    text: str
    slot: bool = False


@dataclass(frozen=True, slots=True)
class _Slot:
    name: str


@dataclass(frozen=True, slots=True)
class _Choice:
    options: tuple["_Sequence", ...]


_Sequence = tuple[str | _Slot | _Choice, ...]


@dataclass(frozen=True, slots=True)
class LineTemplate:
    """A parsed line. `slots` are the names of its slots."""

    nodes: _Sequence
    slots: frozenset[str]

    def render(self, rng: random.Random, values: Mapping[str, str]) -> tuple[TemplateSpan, ...]:
        """Render the line with random alternatives. Double spaces around an empty alternative become one space."""
        spans: list[TemplateSpan] = []
        for span in _render(self.nodes, rng, values):
            if spans and not span.slot and not spans[-1].slot:
                spans[-1] = TemplateSpan(spans[-1].text + span.text)
            else:
                spans.append(span)
        if any(isinstance(node, _Choice) for node in self.nodes):
            # Spaces at the start of a line stay: they are the indentation of code.
            spans = [s if s.slot else TemplateSpan(re.sub(r"(?<![\n ]) {2,}", " ", s.text)) for s in spans]
        return _strip(spans)


def _render(nodes: _Sequence, rng: random.Random, values: Mapping[str, str]) -> Iterator[TemplateSpan]:
    for node in nodes:
        if isinstance(node, str):
            yield TemplateSpan(node)
        elif isinstance(node, _Slot):
            yield TemplateSpan(values[node.name], slot=True)
        else:
            yield from _render(rng.choice(node.options), rng, values)


def _strip(spans: list[TemplateSpan]) -> tuple[TemplateSpan, ...]:
    """Remove white space at both ends, which an empty alternative leaves, and empty spans."""
    if spans and not spans[0].slot:
        spans[0] = TemplateSpan(spans[0].text.lstrip())
    if spans and not spans[-1].slot:
        spans[-1] = TemplateSpan(spans[-1].text.rstrip())
    return tuple(span for span in spans if span.text)


def join_spans(spans: tuple[TemplateSpan, ...]) -> str:
    """Return the text of a rendered line."""
    return "".join(span.text for span in spans)


def parse_template(line: str) -> LineTemplate:
    """Parse a line. Raises `ValueError` if its brackets or slots are malformed; the message is a clause on the line."""
    parser = _TemplateParser(line)
    nodes = parser.sequence(depth=0)
    return LineTemplate(nodes, frozenset(parser.slots))


class _TemplateParser:
    """A recursive-descent parser of one line; `sequence` descends one level per opening bracket."""

    def __init__(self, line: str) -> None:
        self.line = line
        self.at = 0
        self.slots: set[str] = set()

    def sequence(self, depth: int) -> _Sequence:
        nodes: list[str | _Slot | _Choice] = []
        while self.at < len(self.line):
            char = self.line[self.at]
            if char in "|]":
                if depth == 0:
                    raise ValueError(f"'{char}' at character {self.at + 1} has no '[' before it")
                break
            if char == "[":
                nodes.append(self._choice(depth))
            elif char == "{":
                nodes.append(self._slot())
            elif char == "}":
                raise ValueError(f"'}}' at character {self.at + 1} has no '{{' before it")
            else:
                nodes.append(self._text())
        return tuple(nodes)

    def _choice(self, depth: int) -> _Choice:
        start = self.at + 1
        options: list[_Sequence] = []
        while self.at < len(self.line) and (not options or self.line[self.at] == "|"):
            self.at += 1
            options.append(self.sequence(depth + 1))
        if self.at == len(self.line):
            raise ValueError(f"the '[' at character {start} is never closed")
        self.at += 1
        return _Choice(tuple(options))

    def _slot(self) -> _Slot:
        end = self.line.find("}", self.at)
        if end < 0:
            raise ValueError(f"the '{{' at character {self.at + 1} is never closed")
        name = self.line[self.at + 1 : end]
        if not re.fullmatch(r"\w+", name):
            raise ValueError(f"'{{{name}}}' is not a slot: its name must consist of letters, digits and _")
        self.at = end + 1
        self.slots.add(name)
        return _Slot(name)

    def _text(self) -> str:
        chars: list[str] = []
        while self.at < len(self.line):
            char = self.line[self.at]
            if char == "\\" and self.line[self.at + 1 : self.at + 2] in tuple(SPECIAL):
                self.at += 1
                char = self.line[self.at]
            elif char in "[]{}|":
                break
            chars.append(char)
            self.at += 1
        return "".join(chars)
