"""Removes white space around a streamed reply."""


class ReplyTrimmer:
    """Removes white space before the first and after the last word. Buffers only white space."""

    def __init__(self) -> None:
        self._has_started = False
        self._space = ""

    def push(self, text: str) -> str:
        """Add text and return what certainly belongs to the reply."""
        if not self._has_started:
            text = text.lstrip()
            self._has_started = bool(text)
        text = self._space + text
        stripped = text.rstrip()
        self._space = text[len(stripped) :]
        return stripped
