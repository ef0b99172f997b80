"""`bad_words`: strings that a response must not contain, as a constraint on tokens.

A token is masked if it would complete one of the strings together with the text before it, however the string is
tokenized. The constraint compares bytes and is case-sensitive.
"""

from collections.abc import Sequence
from copy import copy

import numpy as np
from numpy.typing import NDArray

from turnwise.text.tokenization.vocabulary import Vocabulary


class BadWordsConstraint:
    """The strings, and the tokens that complete each prefix of them (the `core.inference.Constraint` port)."""

    def __init__(self, words: Sequence[str], vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._words = [word.encode() for word in words]
        self.max_word_bytes = max(len(word) for word in self._words)
        # For each string: (length of its prefix at the end of a response, tokens that complete the string after it).
        self._completions = [
            [
                (length, tokens)
                for length in range(max(1, len(word) - vocabulary.max_token_bytes), len(word))
                if len(tokens := vocabulary.tokens_with_prefix(word[length:]))
            ]
            for word in self._words
        ]
        self._allowed = np.ones(len(vocabulary), dtype=np.bool_)
        for word in self._words:
            self._allowed[vocabulary.tokens_containing(word)] = False

    def start(self) -> "BadWordsState":
        """The state at the start of a response."""
        return BadWordsState(self)

    def allowed_after(self, tail: bytes) -> NDArray[np.bool_]:
        """Mask of the tokens that complete no string after `tail`. Shape (V,)."""
        token_mask = self._allowed.copy()
        for word, completions in zip(self._words, self._completions, strict=True):
            for length, tokens in completions:
                if tail.endswith(word[:length]):
                    token_mask[tokens] = False
        return token_mask

    def output_bytes(self, token: int) -> bytes:
        """Bytes that a token adds to a response."""
        return self._vocabulary.output_bytes(token)


class BadWordsState:
    """The last bytes of a response."""

    name, reason = "bad_words", "It would complete one of the bad words."
    is_complete = False  # a response can always continue

    def __init__(self, words: BadWordsConstraint) -> None:
        self._words = words
        self._tail = b""

    def token_mask(self) -> NDArray[np.bool_]:
        """Mask of the allowed tokens. Shape (V,)."""
        return self._words.allowed_after(self._tail)

    def accept(self, token: int) -> None:
        """Append a token."""
        self._tail = (self._tail + self._words.output_bytes(token))[-self._words.max_word_bytes :]

    def fork(self) -> "BadWordsState":
        """A copy for a second sequence."""
        return copy(self)
