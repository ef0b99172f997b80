"""Parser of the regular expressions of slots (see `safe_regex.py` for the syntax)."""

from dataclasses import dataclass

from turnwise.core.errors import InvalidParameter

MAX_STATES = 2000  # of an expression, after repetitions are expanded
MAX_SOURCE_CHARS = 300
MAX_REPETITIONS = 100
MAX_GROUP_DEPTH = 16


@dataclass(frozen=True, slots=True)
class CharacterClass:
    """Ranges of characters, in lower case; `is_negated` accepts all others."""

    ranges: tuple[tuple[str, str], ...]
    is_negated: bool = False

    def matches(self, character: str) -> bool:
        """True if the class has the character, in either case."""
        lower = character.lower()
        return any(low <= lower <= high or low <= character <= high for low, high in self.ranges) != self.is_negated


@dataclass(frozen=True, slots=True)
class Node:
    """A part of an expression: a "class", "boundary", "sequence", "choice" or "repetition".

    Attributes:
        kind: see above.
        children: the members of a sequence or choice, or what is repeated.
        characters: of a class.
        minimum, maximum: of a repetition; None for no maximum.
    """

    kind: str
    children: tuple["Node", ...] = ()
    characters: CharacterClass | None = None
    minimum: int = 0
    maximum: int | None = None


ANY = CharacterClass((("\n", "\n"),), is_negated=True)
BOUNDARY = Node("boundary")
_DIGIT = (("0", "9"),)
_WORD = (("a", "z"), ("0", "9"), ("_", "_"))
_SPACE = ((" ", " "), ("\t", "\r"), ("\u3000", "\u3000"), ("\u00a0", "\u00a0"))
_CLASSES = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
_ESCAPES = {"n": "\n", "t": "\t"}


def parse_regex(source: str) -> Node:
    """Parse an expression. Raises `InvalidParameter`, with the position, for syntax outside of the subset."""
    if not source or len(source) > MAX_SOURCE_CHARS:
        raise InvalidParameter("pattern", f"an expression has 1 to {MAX_SOURCE_CHARS} characters.")
    parser = _RegexParser(source)
    node = parser.choice(0)
    if parser.position < len(source):
        raise parser.error("unbalanced ')'")
    return node


class _RegexParser:
    def __init__(self, source: str) -> None:
        self.source, self.position = source, 0

    def error(self, problem: str) -> InvalidParameter:
        return InvalidParameter(
            "pattern", f"the expression {self.source!r} is invalid at character {self.position + 1}: {problem}."
        )

    def choice(self, depth: int) -> Node:
        if depth > MAX_GROUP_DEPTH:
            raise self.error(f"groups are nested more than {MAX_GROUP_DEPTH} levels deep")
        branches = [self._sequence(depth)]
        while self._take("|"):
            branches.append(self._sequence(depth))
        return branches[0] if len(branches) == 1 else Node("choice", tuple(branches))

    def _sequence(self, depth: int) -> Node:
        children: list[Node] = []
        while self.position < len(self.source) and self.source[self.position] not in "|)":
            atom = self._atom(depth)
            children.append(self._repeated(atom))
        return Node("sequence", tuple(children))

    def _atom(self, depth: int) -> Node:
        character = self._next()
        if character == "(":
            if self._take("?") and not self._take(":"):
                raise self.error("'(?' may only begin a group without a number, '(?:'")
            node = self.choice(depth + 1)
            if not self._take(")"):
                raise self.error("a ')' is missing")
            return node
        if character == "[":
            return Node("class", characters=self._class())
        if character == ".":
            return Node("class", characters=ANY)
        if character == "\\":
            return self._escape()
        if character in "*+?{}^$":
            self.position -= 1
            raise self.error(f"'{character}' cannot stand here; write '\\{character}' for the character itself")
        return _literal(character)

    def _escape(self) -> Node:
        character = self._next()
        if character == "b":
            return BOUNDARY
        if character.lower() in _CLASSES:
            return Node("class", characters=CharacterClass(_CLASSES[character.lower()], character.isupper()))
        return _literal(self._escaped(character))

    def _escaped(self, character: str) -> str:
        if character.isalnum() and character not in _ESCAPES:
            raise self.error(f"'\\{character}' is not supported")
        return _ESCAPES.get(character, character)

    def _class(self) -> CharacterClass:
        is_negated = self._take("^")
        ranges: list[tuple[str, str]] = []
        while not self._take("]") or not ranges:
            low = self._next()
            if low == "\\":
                low = self._next()
                if low in _CLASSES:
                    ranges += _CLASSES[low]
                    continue
                low = self._escaped(low)
            high = low
            if self.source[self.position : self.position + 1] == "-" and self.source[self.position + 1 :][:1] != "]":
                self.position += 1
                high = self._next()
                high = self._escaped(self._next()) if high == "\\" else high
            if high < low:
                raise self.error(f"the range {low}-{high} is empty")
            ranges.append((low, high))
            if low.isalpha() and low.isascii():
                ranges.append((low.lower(), high.lower()))
        return CharacterClass(tuple(ranges), is_negated)

    def _repeated(self, atom: Node) -> Node:
        if self._take("*"):
            return Node("repetition", (atom,), None, 0, None)
        if self._take("+"):
            return Node("repetition", (atom,), None, 1, None)
        if self._take("?"):
            return Node("repetition", (atom,), None, 0, 1)
        if not self._take("{"):
            return atom
        minimum = self._number()
        maximum = self._number() if self._take(",") else minimum
        if not self._take("}"):
            raise self.error("a '}' is missing")
        if not minimum <= maximum <= MAX_REPETITIONS or maximum == 0:
            raise self.error(f"a repetition needs 1 to {MAX_REPETITIONS} times, the smaller number first")
        return Node("repetition", (atom,), None, minimum, maximum)

    def _number(self) -> int:
        start = self.position
        while self.source[self.position : self.position + 1].isdecimal():
            self.position += 1
        if not 1 <= self.position - start <= 3:
            raise self.error("a repetition needs numbers of 1 to 3 digits, such as {2,5}")
        return int(self.source[start : self.position])

    def _take(self, character: str) -> bool:
        if self.source[self.position : self.position + 1] == character:
            self.position += 1
            return True
        return False

    def _next(self) -> str:
        if self.position == len(self.source):
            raise self.error("it ends too early")
        self.position += 1
        return self.source[self.position - 1]


def _literal(character: str) -> Node:
    lower = character.lower()
    return Node("class", characters=CharacterClass(((lower, lower), (character, character))))
