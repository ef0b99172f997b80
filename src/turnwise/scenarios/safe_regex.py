"""Regular expressions that always match in time proportional to the text: an automaton instead of backtracking.

Scenario files come from others, and `re` takes exponential time for an expression such as `(a+)+b`. The syntax is the
subset of `re` that describes numbers and codes: literals, `.`, `[a-z]`, `[^a-z]`, `\\d \\w \\s \\D \\W \\S`, `\\b`,
`( )`, `(?: )`, `|`, `? * + {m} {m,n}`. Case is ignored. There are no look-arounds, back-references or flags.

The automaton follows all alternatives at once (Thompson 1968); the match is the longest of the leftmost ones.
"""

from dataclasses import dataclass
from functools import lru_cache

from turnwise.core.errors import InvalidParameter
from turnwise.scenarios.regex_parser import ANY, MAX_STATES, CharacterClass, Node, parse_regex

MAX_INPUT_CHARS = 4000


@dataclass(frozen=True, slots=True)
class _State:
    """A state of the automaton: consumes a character of `accepts`, or goes on to `targets` without consuming one."""

    accepts: CharacterClass | None
    at_boundary: bool
    targets: tuple[int, ...]


class SafeRegex:
    """A compiled expression. Raises `InvalidParameter` for other syntax, and for an expression that is too large."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._states: list[_State] = []
        self._steps = 0
        self._final = self._add(None, ())
        self._start = self._compile(parse_regex(source), self._final)

    def search(self, text: str) -> str | None:
        """The leftmost longest match in the first `MAX_INPUT_CHARS` characters; None if none is longer than 0."""
        text = text[:MAX_INPUT_CHARS]
        best: tuple[int, int] | None = None
        origins: dict[int, int] = {}  # states before the next character, with the first position of their match
        for position in range(len(text) + 1):
            if best is None:
                origins.setdefault(self._start, position)
            closed = self._close(origins, text, position)
            if self._final in closed and closed[self._final] < position:
                origin = closed[self._final]
                if best is None or origin < best[0] or (origin == best[0] and position > best[1]):
                    best = origin, position
            if position == len(text):
                break
            origins = {}
            for state, origin in closed.items():
                accepts = self._states[state].accepts
                if accepts is not None and accepts.matches(text[position]) and (best is None or origin <= best[0]):
                    target = self._states[state].targets[0]
                    origins[target] = min(origin, origins.get(target, origin))
            if not origins and best is not None:
                break
        return None if best is None else text[best[0] : best[1]]

    def _close(self, origins: dict[int, int], text: str, position: int) -> dict[int, int]:
        """All states that are reached without a character; every state once, with its first position."""
        closed: dict[int, int] = {}
        stack = sorted(origins.items(), key=lambda item: -item[1])
        while stack:  # the smallest origin is popped first, so a state is never visited again
            state, origin = stack.pop()
            if state in closed:
                continue
            closed[state] = origin
            node = self._states[state]
            if node.accepts is None and (not node.at_boundary or _is_boundary(text, position)):
                stack.extend((target, origin) for target in node.targets)
        return closed

    def _add(self, accepts: CharacterClass | None, targets: tuple[int, ...], *, at_boundary: bool = False) -> int:
        if len(self._states) >= MAX_STATES:
            raise self._too_large()
        self._states.append(_State(accepts, at_boundary, targets))
        return len(self._states) - 1

    def _too_large(self) -> InvalidParameter:
        return InvalidParameter("pattern", f"the expression {self.source!r} is too large: shorten its repetitions.")

    def _compile(self, node: Node, target: int) -> int:
        """The state from which `node` leads to `target`."""
        self._steps += 1
        if self._steps > 5 * MAX_STATES:  # repetitions of empty groups add no states
            raise self._too_large()
        match node.kind:
            case "class":
                return self._add(node.characters or ANY, (target,))
            case "boundary":
                return self._add(None, (target,), at_boundary=True)
            case "sequence":
                for child in reversed(node.children):
                    target = self._compile(child, target)
                return target
            case "choice":
                return self._add(None, tuple(self._compile(child, target) for child in node.children))
            case _:
                return self._compile_repetition(node, target)

    def _compile_repetition(self, node: Node, target: int) -> int:
        (child,) = node.children
        if node.maximum is None:
            loop = self._add(None, ())
            self._states[loop] = _State(None, False, (self._compile(child, loop), target))
            start = loop
        else:
            start = target
            for _ in range(node.maximum - node.minimum):
                start = self._add(None, (self._compile(child, start), target))
        for _ in range(node.minimum):
            start = self._compile(child, start)
        return start


@lru_cache(maxsize=512)
def compile_regex(source: str) -> SafeRegex:
    """Compile an expression; the same object for the same text. Raises `InvalidParameter`."""
    return SafeRegex(source)


def _is_boundary(text: str, position: int) -> bool:
    before = position > 0 and _is_word(text[position - 1])
    after = position < len(text) and _is_word(text[position])
    return before != after


def _is_word(character: str) -> bool:
    """True for ASCII letters, digits and the underscore: a Chinese character beside a number is a boundary."""
    return character.isascii() and (character.isalnum() or character == "_")
