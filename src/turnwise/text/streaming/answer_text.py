"""The text of one answer from its tokens, up to the first stop string."""

from collections.abc import Sequence

from turnwise.text.streaming.detokenizer import IncrementalDetokenizer
from turnwise.text.streaming.stop_string_scanner import StopStringScanner
from turnwise.text.tokenization.tokenizer import Tokenizer


class AnswerText:
    """Collects the text of an answer; a `StopCondition` of `core.inference_client`.

    Args:
        tokenizer: tokenizer of the model.
        stop: strings that end the answer and are not part of it.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        self._detokenizer = IncrementalDetokenizer(tokenizer, ())
        self._scanner = StopStringScanner(stop)
        self._pieces: list[str] = []

    def push(self, token_id: int) -> bool:
        """Process the next token. True if a stop string is complete."""
        self._pieces.append(self._scanner.push(self._detokenizer.push(token_id)))
        return self._scanner.has_stopped

    def finish(self) -> str:
        """The text, after the last token."""
        self._pieces += [self._scanner.push(self._detokenizer.flush()), self._scanner.flush()]
        return "".join(self._pieces)
