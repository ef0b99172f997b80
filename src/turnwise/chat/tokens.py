"""Looking at a model's tokens: what a text is to it, and what its ids say."""

from collections.abc import Sequence

from turnwise.chat.turn import Likely
from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import Message
from turnwise.text.render import Renderer
from turnwise.text.vocabulary import Vocabulary


class Tokens:
    """The token side of one model."""

    def __init__(self, renderer: Renderer, vocabulary: Vocabulary) -> None:
        self._renderer = renderer
        self._vocabulary = vocabulary

    def of_text(self, text: str) -> list[int]:
        """The ids of a text; what spells a special token stays text."""
        return self._renderer.tokenizer.encode(text)

    def of_messages(self, messages: Sequence[Message], add_generation_prompt: bool) -> list[int]:
        """The ids of a conversation, as an answer's prompt has them."""
        return self._renderer.render(messages, add_generation_prompt=add_generation_prompt).ids

    def spelled(self, ids: Sequence[int]) -> list[str]:
        """The text of each token."""
        return [self._vocabulary.bytes_of(id).decode(errors="replace") for id in ids]

    def likely(self, id: int, logprob: float = 0.0) -> Likely:
        """A token as it is reported: its name, and the bytes it adds to a text."""
        if id >= len(self._vocabulary):  # a row of the model that the tokenizer has no token for
            return Likely("", b"", logprob)
        spelled = self._vocabulary.bytes_of(id).decode(errors="replace")
        return Likely(spelled, self._vocabulary.shown(id), logprob)

    def text(self, ids: Sequence[int]) -> str:
        """The text of all tokens together, special ones included. Raises `InvalidParameter` for unknown ids."""
        known = len(self._vocabulary)
        for id in ids:
            if id >= known:
                raise InvalidParameter("tokens", f"'tokens' holds {id}; this model's ids end at {known - 1}.")
        return self._renderer.tokenizer.decode(ids, skip_special=False)
