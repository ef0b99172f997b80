r"""Lines with alternatives and slots: `hello[| there], {name}` says one of several things.

`[a|b|c]` is one of its alternatives, which may be empty and may nest; `{name}` is the dialogue's value of that slot;
a backslash before one of ``[ ] { } | \`` keeps that character as it is.
"""

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

SPECIAL = "[]{}|\\"


@dataclass(frozen=True, slots=True)
class TemplateSpan:
    """A stretch of a rendered line; `slot` marks a slot's value, which no typo may touch."""

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
    """A parsed line. `slots` are the names it asks for."""

    nodes: _Sequence
    slots: frozenset[str]

    def render(self, rng: random.Random, values: Mapping[str, str]) -> tuple[TemplateSpan, ...]:
        """One way to say the line. Where it has alternatives, spaces that an empty one left doubled become one."""
        pieces: list[TemplateSpan] = []
        for piece in _walk(self.nodes, rng, values):
            if pieces and not piece.slot and not pieces[-1].slot:
                pieces[-1] = TemplateSpan(pieces[-1].text + piece.text)
            else:
                pieces.append(piece)
        if any(isinstance(part, _Choice) for part in self.nodes):
            # Indentation at the start of a line stays: it is code.
            pieces = [p if p.slot else TemplateSpan(re.sub(r"(?<![\n ]) {2,}", " ", p.text)) for p in pieces]
        return _strip(pieces)


def _walk(parts: _Sequence, rng: random.Random, values: Mapping[str, str]) -> Iterator[TemplateSpan]:
    for part in parts:
        if isinstance(part, str):
            yield TemplateSpan(part)
        elif isinstance(part, _Slot):
            yield TemplateSpan(values[part.name], slot=True)
        else:
            yield from _walk(rng.choice(part.options), rng, values)


def _strip(pieces: list[TemplateSpan]) -> tuple[TemplateSpan, ...]:
    """Without white space at either end, which only an empty alternative can have left."""
    if pieces and not pieces[0].slot:
        pieces[0] = TemplateSpan(pieces[0].text.lstrip())
    if pieces and not pieces[-1].slot:
        pieces[-1] = TemplateSpan(pieces[-1].text.rstrip())
    return tuple(piece for piece in pieces if piece.text)


def join_spans(pieces: tuple[TemplateSpan, ...]) -> str:
    """The line as it is said."""
    return "".join(piece.text for piece in pieces)


def parse_template(line: str) -> LineTemplate:
    """The template in `line`. Raises `ValueError` with a sentence on what is wrong with its brackets or slots."""
    reader = _Reader(line)
    parts = reader.sequence(depth=0)
    return LineTemplate(parts, frozenset(reader.slots))


class _Reader:
    """A cursor over one line; descends one level per opening bracket."""

    def __init__(self, line: str) -> None:
        self.line = line
        self.at = 0
        self.slots: set[str] = set()

    def sequence(self, depth: int) -> _Sequence:
        parts: list[str | _Slot | _Choice] = []
        while self.at < len(self.line):
            char = self.line[self.at]
            if char in "|]":
                if depth == 0:
                    raise ValueError(f"'{char}' at character {self.at + 1} has no '[' before it")
                break
            if char == "[":
                parts.append(self._choice(depth))
            elif char == "{":
                parts.append(self._slot())
            elif char == "}":
                raise ValueError(f"'}}' at character {self.at + 1} has no '{{' before it")
            else:
                parts.append(self._text())
        return tuple(parts)

    def _choice(self, depth: int) -> _Choice:
        opened = self.at + 1
        options: list[_Sequence] = []
        while self.at < len(self.line) and (not options or self.line[self.at] == "|"):
            self.at += 1
            options.append(self.sequence(depth + 1))
        if self.at == len(self.line):
            raise ValueError(f"the '[' at character {opened} is never closed")
        self.at += 1
        return _Choice(tuple(options))

    def _slot(self) -> _Slot:
        end = self.line.find("}", self.at)
        if end < 0:
            raise ValueError(f"the '{{' at character {self.at + 1} is never closed")
        name = self.line[self.at + 1 : end]
        if not re.fullmatch(r"\w+", name):
            raise ValueError(f"'{{{name}}}' is not a slot: a name of letters, digits and _ belongs between the braces")
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
