"""Character-wise readers for tool-call arguments: find the end of a JSON object, decode a JSON string."""

import re

_SIMPLE = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_HIGH = re.compile("[\ud800-\udbff]")  # high surrogate of a pair of JSON escapes
_LOW = re.compile("[\udc00-\udfff]")


class JsonObjectReader:
    """Returns the characters of one JSON object."""

    def __init__(self) -> None:
        self.is_done = False
        self._depth = 0
        self._in_string = self._escaped = False

    def push(self, character: str) -> str:
        """The character. `is_done` after the last one of the object."""
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
            self.is_done = self._depth == 0
        return character


class JsonStringReader:
    """Decodes the string of `{"input": "…"}`. `is_done` after its closing quote."""

    def __init__(self) -> None:
        self.is_done = False
        self._quotes = 0  # two around the key, the third opens the string
        self._escape = ""
        self._high_surrogate = ""

    def push(self, character: str) -> str:
        """The text that the character adds."""
        if self._quotes < 3:
            self._quotes += character == '"'
            return ""
        if self._escape:
            return self._escaped(character)
        if character == "\\":
            self._escape = character
            return ""
        if character == '"':
            self.is_done = True
            return self._flush_surrogate()
        return self._flush_surrogate() + character

    def _escaped(self, character: str) -> str:
        self._escape += character
        if self._escape[1] != "u":
            self._escape = ""
            return self._flush_surrogate() + _SIMPLE.get(character, character)
        if len(self._escape) < 6:
            return ""
        text, self._escape = chr(int(self._escape[2:], 16)), ""
        if self._high_surrogate and _LOW.fullmatch(text):
            pair, self._high_surrogate = self._high_surrogate + text, ""
            return pair.encode("utf-16", "surrogatepass").decode("utf-16")
        before = self._flush_surrogate()
        if _HIGH.fullmatch(text):
            self._high_surrogate, text = text, ""
        return before + ("\ufffd" if _LOW.fullmatch(text) else text)

    def _flush_surrogate(self) -> str:
        """U+FFFD for an unpaired high surrogate, else nothing."""
        surrogate, self._high_surrogate = self._high_surrogate, ""
        return "\ufffd" if surrogate else ""


class RawInputReader:
    """Returns the text between `opening` and `closing`. The latter is at the end of the response.

    The text itself may contain `closing`, so a possible closing is buffered until more text follows.
    """

    def __init__(self, opening: str, closing: str) -> None:
        self.is_done = False  # always False: nothing follows
        self._opening_left, self._closing = len(opening), closing
        self._buffer = ""

    def push(self, character: str) -> str:
        """The text that is certainly not the closing."""
        if self._opening_left:
            self._opening_left -= 1
            return ""
        self._buffer += character
        for start in range(len(self._buffer)):
            if self._closing.startswith(self._buffer[start:]):
                text, self._buffer = self._buffer[:start], self._buffer[start:]
                return text
        text, self._buffer = self._buffer, ""
        return text

    @property
    def has_closing(self) -> bool:
        """True if the response ends with the closing."""
        return self._buffer == self._closing
