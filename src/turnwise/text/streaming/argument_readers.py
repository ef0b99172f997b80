"""Reads a call's arguments a character at a time: where a JSON value ends, and what a JSON string says."""

import re

_SIMPLE = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_HIGH = re.compile("[\ud800-\udbff]")  # the first half of a character that JSON spells in two
_LOW = re.compile("[\udc00-\udfff]")


class JsonObjectReader:
    """Hands out one JSON object as it is written."""

    def __init__(self) -> None:
        self.done = False
        self._depth = 0
        self._in_string = self._escaped = False

    def push(self, character: str) -> str:
        """The character; `done` after the object's last."""
        if self._in_string:
            if self._escaped:
                self._escaped = False
            elif character == "\\":
                self._escaped = True
            elif character == '"':
                self._in_string = False
        elif character == '"':
            self._in_string = True
        elif character in "{[":
            self._depth += 1
        elif character in "}]":
            self._depth -= 1
            self.done = self._depth == 0
        return character


class JsonStringReader:
    """Hands out what the one string of `{"input": "…"}` says; `done` after its closing quote."""

    def __init__(self) -> None:
        self.done = False
        self._quotes = 0  # two around the key, the third opens the string
        self._escape = ""
        self._half = ""

    def push(self, character: str) -> str:
        """What the character adds to the text."""
        if self._quotes < 3:
            self._quotes += character == '"'
            return ""
        if self._escape:
            return self._escaped(character)
        if character == "\\":
            self._escape = character
            return ""
        if character == '"':
            self.done = True
            return self._lone()
        return self._lone() + character

    def _escaped(self, character: str) -> str:
        self._escape += character
        if self._escape[1] != "u":
            self._escape = ""
            return self._lone() + _SIMPLE.get(character, character)
        if len(self._escape) < 6:
            return ""
        said, self._escape = chr(int(self._escape[2:], 16)), ""
        if self._half and _LOW.fullmatch(said):
            pair, self._half = self._half + said, ""
            return pair.encode("utf-16", "surrogatepass").decode("utf-16")
        before = self._lone()
        if _HIGH.fullmatch(said):
            self._half, said = said, ""
        return before + ("\ufffd" if _LOW.fullmatch(said) else said)

    def _lone(self) -> str:
        """Half a character that stayed alone is none."""
        half, self._half = self._half, ""
        return "\ufffd" if half else ""


class RawInputReader:
    """Hands out a text that stands between `opening` and `closing`, the latter at the very end of the answer.

    The text may hold what looks like its end, so that is only let go of when something follows.
    """

    def __init__(self, opening: str, closing: str) -> None:
        self.done = False  # never: nothing follows it
        self._before, self._closing = len(opening), closing
        self._held = ""

    def push(self, character: str) -> str:
        """What has become certain not to be the end."""
        if self._before:
            self._before -= 1
            return ""
        self._held += character
        for start in range(len(self._held)):
            if self._closing.startswith(self._held[start:]):
                said, self._held = self._held[:start], self._held[start:]
                return said
        said, self._held = self._held, ""
        return said

    @property
    def ended(self) -> bool:
        """Whether the end was seen, if the answer is over now."""
        return self._held == self._closing
