"""Looking at a model's tokens: what a text is to it, and what its ids say."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from turnwise.core.chat_request import DecodedToken
from turnwise.core.errors import ContextLengthExceeded, InvalidParameter
from turnwise.core.messages import Message
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import TooManyTokens
from turnwise.text.tokenization.vocabulary import Vocabulary


@contextmanager
def _at_most(param: str) -> Iterator[None]:
    try:
        yield
    except TooManyTokens as error:
        count = f"{'' if error.is_exact else 'at least '}{error.count:,}"
        raise ContextLengthExceeded(
            f"'{param}' has {count} tokens, more than this server lists at once.", param
        ) from None


class TokenInspector:
    """The token side of one model."""

    def __init__(self, renderer: Renderer, vocabulary: Vocabulary) -> None:
        self._renderer = renderer
        self._vocabulary = vocabulary

    def encode_text(self, text: str, limit: int | None = None) -> list[int]:
        """Token ids of a text. A spelled special token stays text.

        Raises:
            ContextLengthExceeded: there are more than `limit`.
        """
        with _at_most("prompt"):
            self._renderer.check_length(text, limit)
            return self._renderer.tokenizer.encode(text, limit=limit)

    def encode_messages(
        self, messages: Sequence[Message], add_generation_prompt: bool, limit: int | None = None
    ) -> list[int]:
        """Token ids of a conversation as a prompt.

        Raises:
            ContextLengthExceeded: there are more than `limit`.
        """
        with _at_most("messages"):
            prompt = self._renderer.render(messages, add_generation_prompt=add_generation_prompt, limit=limit)
        return prompt.ids

    def token_texts(self, ids: Sequence[int]) -> list[str]:
        """The text of each token."""
        return [self._vocabulary.token_bytes(id).decode(errors="replace") for id in ids]

    def decode_token(self, id: int, logprob: float = 0.0) -> DecodedToken:
        """A token as it is reported: its name, and the bytes it adds to a text."""
        if id >= len(self._vocabulary):  # a row of the model that the tokenizer has no token for
            return DecodedToken("", b"", logprob)
        spelled = self._vocabulary.token_bytes(id).decode(errors="replace")
        return DecodedToken(spelled, self._vocabulary.output_bytes(id), logprob)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of all tokens together, special ones included. Raises `InvalidParameter` for unknown ids."""
        known = len(self._vocabulary)
        if (highest := max(ids, default=0)) >= known:
            raise InvalidParameter("tokens", f"'tokens' holds {highest}; this model's ids end at {known - 1}.")
        return self._renderer.tokenizer.decode(ids, skip_special=False)
