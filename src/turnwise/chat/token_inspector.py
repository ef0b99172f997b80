"""Tokenization and detokenization for clients, and tokens with their log-probabilities."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from turnwise.chat.answer_start import num_incomplete_ids
from turnwise.core.chat_response import DecodedToken
from turnwise.core.errors import ContextLengthExceeded, InvalidParameter
from turnwise.core.messages import Message
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.encoding import TooManyTokens
from turnwise.text.tokenization.vocabulary import Vocabulary


@contextmanager
def _convert_token_limit_error(param: str) -> Iterator[None]:
    try:
        yield
    except TooManyTokens as error:
        count = f"{'' if error.is_exact else 'at least '}{error.count:,}"
        raise ContextLengthExceeded(
            f"'{param}' has {count} tokens, more than this server lists at once.", param
        ) from None


class RendererTokenInspector:
    """Encodes and decodes with a renderer (implements `core.chat_service.TokenInspector`)."""

    def __init__(self, renderer: Renderer, vocabulary: Vocabulary) -> None:
        self._renderer = renderer
        self._vocabulary = vocabulary

    def encode_text(self, text: str, limit: int | None = None) -> list[int]:
        """Token ids of a text. A spelled special token stays text.

        Raises:
            ContextLengthExceeded: there are more than `limit`.
        """
        with _convert_token_limit_error("prompt"):
            self._renderer.check_length(text, limit)
            return self._renderer.tokenizer.encode(text, max_tokens=limit)

    def encode_messages(
        self, messages: Sequence[Message], add_generation_prompt: bool, limit: int | None = None
    ) -> list[int]:
        """Token ids of a conversation as a prompt.

        Raises:
            ContextLengthExceeded: there are more than `limit`.
        """
        with _convert_token_limit_error("messages"):
            prompt = self._renderer.render(messages, add_generation_prompt=add_generation_prompt, max_tokens=limit)
        return prompt.ids

    def encode_answer(self, messages: Sequence[Message], text: str, limit: int | None = None) -> list[int]:
        """Token ids of an answer to messages, encoded again from its text.

        Raises:
            ContextLengthExceeded: there are more than `limit`.
        """
        with _convert_token_limit_error("answer"):
            prompt = self._renderer.render(messages, add_generation_prompt=True, max_tokens=limit).ids
            conversation = [*messages, Message("assistant", text)]
            rendered = self._renderer.render(conversation, continue_final_message=True, max_tokens=limit)
        if rendered.ids[: len(prompt)] == prompt:
            return rendered.ids[len(prompt) :]
        span = rendered.spans[-1]  # the template puts something between the start of a turn and its text
        return [] if span is None else rendered.ids[span[0] : span[1]]

    def answer_text(self, ids: Sequence[int]) -> str:
        """Text of the start of an answer, without a character that is not complete.

        Raises:
            InvalidParameter: an id is unknown or a special token.
        """
        tokenizer = self._renderer.tokenizer
        if not all(id < len(self._vocabulary) and id not in tokenizer.special_ids for id in ids):
            raise InvalidParameter("answer_tokens", "'answer_tokens' may contain only tokens of text.")
        text = tokenizer.decode(ids[: len(ids) - num_incomplete_ids(tokenizer, ids)])
        return text.lstrip() if self._renderer.turn_format.trim else text

    def token_texts(self, ids: Sequence[int]) -> list[str]:
        """The text of each token."""
        return [self._vocabulary.token_bytes(id).decode(errors="replace") for id in ids]

    def decode_token(self, id: int, logprob: float = 0.0) -> DecodedToken:
        """A token as text and bytes, for log-probabilities."""
        if id >= len(self._vocabulary):  # the model has more rows than the tokenizer has tokens
            return DecodedToken("", b"", logprob, id)
        text = self._vocabulary.token_bytes(id).decode(errors="replace")
        return DecodedToken(text, self._vocabulary.output_bytes(id), logprob, id)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the tokens, including special tokens. Raises `InvalidParameter` for unknown ids."""
        vocab_size = len(self._vocabulary)
        if (highest := max(ids, default=0)) >= vocab_size:
            raise InvalidParameter(
                "tokens", f"'tokens': token {highest} is outside the vocabulary (0 to {vocab_size - 1})."
            )
        return self._renderer.tokenizer.decode(ids, skip_special_tokens=False)
