"""Tokenizes texts that are already split into words, and finds the token that stands for each word."""

from collections.abc import Sequence
from dataclasses import dataclass

from turnwise.text.tokenization.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class WordPieces:
    """The tokens of a sequence of words.

    Attributes:
        ids: token ids, without added start and end tokens.
        first_pieces: for each word the index of its first token; None for a word that the tokenizer drops, such as a
            control character.
    """

    ids: tuple[int, ...]
    first_pieces: tuple[int | None, ...]

    def token_range(self, start: int, end: int) -> tuple[int, int]:
        """The first token of the words `start` up to `end`, and the first token after them."""
        return self._token(start), self._token(end)

    def _token(self, word: int) -> int:
        """The first token of a word, or of the next word that has one."""
        return next((index for index in self.first_pieces[word:] if index is not None), len(self.ids))


def tokenize_words(tokenizer: Tokenizer, words: Sequence[str]) -> WordPieces:
    """Tokenize words as the text that they form with a space between them.

    A token belongs to the word that holds its last character: tokens of byte-level tokenizers include the space before
    a word.
    """
    word_of_character: list[int] = []
    for number, word in enumerate(words):
        word_of_character += [number] * (len(word) + 1)  # the space after a word counts as part of it
    encoding = tokenizer.encode_with_offsets(" ".join(words))
    first_pieces: list[int | None] = [None] * len(words)
    for index, (start, end) in enumerate(encoding.offsets):
        if start < end:
            number = word_of_character[end - 1]
            if first_pieces[number] is None:
                first_pieces[number] = index
    return WordPieces(tuple(encoding.ids), tuple(first_pieces))
