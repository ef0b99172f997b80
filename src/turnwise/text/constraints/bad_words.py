"""Words that an answer must not contain, as a constraint on tokens.

What counts is the text, however it is cut into tokens: a token is masked where it would complete one of the words
together with what was said before it. Compared are bytes, so a word's capital letters matter.
"""

from collections.abc import Sequence
from copy import copy

import numpy as np
from numpy.typing import NDArray

from turnwise.text.tokenization.vocabulary import Vocabulary


class BadWordsConstraint:
    """The words, and which tokens complete each beginning of them (the `core.ports.Constraint` port)."""

    def __init__(self, words: Sequence[str], vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._words = [word.encode() for word in words]
        self.longest = max(len(word) for word in self._words)
        # For each word: how many of its bytes an answer must end with, and the tokens that then complete it.
        self._completing = [
            [
                (said, tokens)
                for said in range(max(1, len(word) - vocabulary.longest), len(word))
                if len(tokens := vocabulary.tokens_with_prefix(word[said:]))
            ]
            for word in self._words
        ]
        self._allowed = np.ones(len(vocabulary), dtype=np.bool_)
        for word in self._words:
            self._allowed[vocabulary.tokens_containing(word)] = False

    def start(self) -> "BadWordsState":
        """At the beginning of an answer."""
        return BadWordsState(self)

    def allowed_after(self, tail: bytes) -> NDArray[np.bool_]:
        """Which tokens complete no word after `tail`, `(V,)`."""
        token_mask = self._allowed.copy()
        for word, completing in zip(self._words, self._completing, strict=True):
            for said, tokens in completing:
                if tail.endswith(word[:said]):
                    token_mask[tokens] = False
        return token_mask

    def output_bytes(self, token: int) -> bytes:
        """What a token says."""
        return self._vocabulary.output_bytes(token)


class BadWordsState:
    """The end of an answer, as far as it matters."""

    is_complete = False  # more may always be said

    def __init__(self, words: BadWordsConstraint) -> None:
        self._words = words
        self._tail = b""

    def token_mask(self) -> NDArray[np.bool_]:
        """All tokens but those that would complete a word."""
        return self._words.allowed_after(self._tail)

    def accept(self, token: int) -> None:
        """One token further."""
        self._tail = (self._tail + self._words.output_bytes(token))[-self._words.longest :]

    def fork(self) -> "BadWordsState":
        """Another that has seen the same."""
        return copy(self)
