"""Tagged sentences as token windows that fit into a model, with words around the sentence as context."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from turnwise.data.annotations.annotated import TaggedSentence
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.text.word_pieces import tokenize_words


@dataclass(frozen=True, slots=True)
class SentenceWindow:
    """Tokens of (a part of) a sentence and of its context.

    Attributes:
        ids: token ids, without added start and end tokens.
        first_pieces: for each word of the sentence the index of its first token; None if it has none.
        words: the words.
        tags: their tags.
        sentence_starts: indices of the words that start a sentence.
    """

    ids: tuple[int, ...]
    first_pieces: tuple[int | None, ...]
    words: tuple[str, ...]
    tags: tuple[str, ...]
    sentence_starts: tuple[int, ...] = (0,)

    def words_with_tokens(self) -> list[tuple[str, bool]]:
        """The words that have a token, and whether they start a sentence, or follow its start without a token."""
        words, starts, is_start = [], frozenset(self.sentence_starts), False
        for index, (word, piece) in enumerate(zip(self.words, self.first_pieces, strict=True)):
            is_start = is_start or index in starts
            if piece is not None:
                words.append((word, is_start))
                is_start = False
        return words


def sentence_windows(
    sentence: TaggedSentence, tokenizer: Tokenizer, max_tokens: int, context_words: int = 0
) -> Iterator[SentenceWindow]:
    """Yield a sentence as one window; a sentence with more than `max_tokens` tokens in parts.

    Args:
        sentence: the sentence, with the words before and after it.
        tokenizer: the model's tokenizer.
        max_tokens: maximum number of tokens of a window.
        context_words: maximum number of words before and after the sentence. The context is cut where it does not fit.
    """
    before, after = sentence.before[-context_words:] if context_words else (), sentence.after[:context_words]
    if _is_surely_too_long(sentence, before, tokenizer, max_tokens):
        yield from _halves(sentence, tokenizer, max_tokens)
        return
    pieces = tokenize_words(tokenizer, [*before, *sentence.tokens, *after])
    start, end = pieces.token_range(len(before), len(before) + len(sentence.tokens))
    if end - start > max_tokens and len(sentence.tokens) > 1:
        yield from _halves(sentence, tokenizer, max_tokens)
        return
    free = max(0, max_tokens - (end - start))
    left = min(start, max(free // 2, free - (len(pieces.ids) - end)))  # what one side does not need goes to the other
    first = start - left
    last = min(len(pieces.ids), end + free - left, first + max_tokens)
    yield SentenceWindow(
        pieces.ids[first:last],
        tuple(
            None if index is None or index >= last else index - first
            for index in pieces.first_pieces[len(before) : len(before) + len(sentence.tokens)]
        ),
        sentence.tokens,
        sentence.tags,
        sentence.sentence_starts,
    )


def _halves(sentence: TaggedSentence, tokenizer: Tokenizer, max_tokens: int) -> Iterator[SentenceWindow]:
    middle = _split_point(sentence.tags)
    for first, last in ((0, middle), (middle, len(sentence.tokens))):
        starts = tuple(start - first for start in sentence.sentence_starts if first <= start < last)
        half = TaggedSentence(sentence.tokens[first:last], sentence.tags[first:last], sentence.document, starts)
        yield from sentence_windows(half, tokenizer, max_tokens)


def _is_surely_too_long(sentence: TaggedSentence, before: Sequence[str], tokenizer: Tokenizer, max_tokens: int) -> bool:
    """True if the first words alone have more than `max_tokens` tokens; a sentence may have a million words."""
    first_words = sentence.tokens[: max(1, 2 * max_tokens)]  # a few words have no token
    if len(first_words) == len(sentence.tokens):
        return False
    pieces = tokenize_words(tokenizer, [*before, *first_words])
    start, end = pieces.token_range(len(before), len(before) + len(first_words))
    return end - start > max_tokens


def _split_point(tags: Sequence[str]) -> int:
    """The word nearest to the middle that does not continue an entity; the middle if there is none."""
    middle = len(tags) // 2
    for distance in range(middle + 1):
        for index in (middle - distance, middle + distance):
            if 0 < index < len(tags) and not tags[index].startswith("I-"):
                return index
    return middle
