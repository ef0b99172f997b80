"""Windows of tagged sentences: nothing is lost, context is cut before the sentence, long sentences are split."""

from collections.abc import Callable
from dataclasses import dataclass
from unittest.mock import patch

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.data.annotations.annotated import TaggedSentence, join_sentences, with_context
from turnwise.text.tokenization.encoding import Encoding
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.text.word_pieces import tokenize_words
from turnwise.training.examples import sentence_windows as module
from turnwise.training.examples.sentence_windows import SentenceWindow, sentence_windows

SENTENCE = TaggedSentence(("c", "d"), ("O", "B-X"), before=("a", "b"), after=("e", "f", "g"))


@pytest.fixture(scope="module")
def letters():
    """A tokenizer with a token for each of the words "a" to "z"."""
    vocabulary = {letter: id for id, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="a"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return Tokenizer(backend)


def decode(tokenizer, window):
    return tokenizer.decode(list(window.ids))


def test_the_context_surrounds_the_sentence_up_to_its_words(tokenizer):
    (window,) = sentence_windows(SENTENCE, tokenizer, 100, context_words=2)
    assert decode(tokenizer, window).split() == list("abcdef")
    assert [tokenizer.decode([window.ids[index]]).strip() for index in window.first_pieces] == ["c", "d"]


def test_without_context_words_only_the_sentence_is_seen(tokenizer):
    (window,) = sentence_windows(SENTENCE, tokenizer, 100)
    assert decode(tokenizer, window).split() == ["c", "d"]


@pytest.mark.parametrize(
    ("sentence", "max_tokens", "expected"),
    [
        (SENTENCE, 4, "b c d e"),
        (SENTENCE, 5, "b c d e f"),
        (SENTENCE, 2, "c d"),
        (TaggedSentence(("c",), ("O",), before=("a", "b")), 3, "a b c"),
        (TaggedSentence(("c",), ("O",), after=("d", "e", "f")), 3, "c d e"),
    ],
)
def test_context_that_does_not_fit_is_cut_on_both_sides(letters, sentence, max_tokens, expected):
    (window,) = sentence_windows(sentence, letters, max_tokens, context_words=5)
    assert decode(letters, window) == expected
    assert [decode(letters, window)[2 * index] for index in window.first_pieces] == list(sentence.tokens)


sentences = st.lists(st.text(alphabet="abcé", min_size=1, max_size=5), min_size=1, max_size=12)


@settings(deadline=None)
@given(words=sentences, max_tokens=st.integers(4, 12), context=st.integers(0, 6))
def test_every_word_is_in_one_window_that_fits(tokenizer, words, max_tokens, context):
    tags = tuple(f"T{number}" for number in range(len(words)))
    sentence = TaggedSentence(tuple(words), tags, before=("bb", "b"), after=("aa", "a", "a"))
    windows = list(sentence_windows(sentence, tokenizer, max_tokens, context))
    assert tuple(tag for window in windows for tag in window.tags) == tags
    for window in windows:
        assert 0 < len(window.ids) <= max_tokens
        assert len(window.first_pieces) == len(window.tags)
        assert all(index is None or index < len(window.ids) for index in window.first_pieces)


def test_a_word_that_is_longer_than_a_window_is_cut(tokenizer):
    (window,) = sentence_windows(TaggedSentence(("é" * 30,), ("O",)), tokenizer, 5)
    assert (len(window.ids), window.first_pieces) == (5, (0,))


def test_neighbours_are_of_the_same_document():
    documents = [TaggedSentence((word,), ("O",), number) for word, number in (("a", 1), ("b", 1), ("c", 2), ("d", 2))]
    contexts = [(sentence.before, sentence.after) for sentence in with_context(documents, 5)]
    assert contexts == [((), ("b",)), (("a",), ()), ((), ("d",)), (("c",), ())]


def test_the_nearest_words_are_taken():
    sentences = [TaggedSentence(tuple(text.split()), ("O",) * 3) for text in ("a b c", "d e f", "g h i")]
    middle = with_context(sentences, 2)[1]
    assert (middle.before, middle.after) == (("b", "c"), ("g", "h"))


@settings(deadline=None)
@given(words=st.lists(st.sampled_from(["a", "bé", "\u200b", "c."]), min_size=1, max_size=60), context=st.integers(0, 3))
def test_windows_of_a_long_sentence_are_those_of_its_complete_tokens(tokenizer, words, context):
    sentence = TaggedSentence(tuple(words), ("O",) * len(words), before=("bb",), after=("aa", "a"))
    windows = list(sentence_windows(sentence, tokenizer, 6, context))
    with patch.object(module, "_is_surely_too_long", lambda *_: False):
        assert windows == list(sentence_windows(sentence, tokenizer, 6, context))


def test_parts_of_joined_sentences_keep_the_starts_of_sentences(letters):
    sentences = [TaggedSentence(tuple(text), ("O",) * len(text)) for text in ("abc", "de", "fghijk")]
    windows = list(sentence_windows(join_sentences(sentences), letters, 4))
    starts = [word for window in windows for word, is_start in window.words_with_tokens() if is_start]
    assert len(windows) > 2
    assert starts == ["a", "d", "f"]


def test_the_word_after_a_start_without_a_token_starts_the_sentence():
    words, first_pieces = ("a", "\u200b", "b", "c", "\u200b", "d"), (0, None, 1, 2, None, 3)
    window = SentenceWindow((7, 7, 7, 7), first_pieces, words, ("O",) * 6, sentence_starts=(0, 1, 4))
    assert window.words_with_tokens() == [("a", True), ("b", True), ("c", False), ("d", True)]


def test_a_sentence_of_many_words_is_never_tokenized_completely(letters):
    lengths = []
    sentence = TaggedSentence(tuple("abcdefgh" * 2000), ("O",) * 16_000)

    def encode(text):
        lengths.append(len(text))
        return letters.encode_with_offsets(text)

    with patch.object(module, "tokenize_words", lambda _, words: tokenize_words(FakeTokenizer(encode), words)):
        windows = list(sentence_windows(sentence, letters, 100))
    assert sum(len(window.tags) for window in windows) == 16_000
    assert max(lengths) < 500
    assert sum(lengths) < 10 * 32_000


@dataclass
class FakeTokenizer:
    """A tokenizer that records its texts."""

    encode_with_offsets: Callable[[str], Encoding]


@given(st.lists(st.sampled_from(["O", "B-X", "I-X"]), min_size=2, max_size=20))
def test_a_sentence_is_split_beside_the_middle_and_not_inside_an_entity(tags):
    candidates = [index for index in range(1, len(tags)) if not tags[index].startswith("I-")]
    expected = min(candidates, key=lambda index: abs(index - len(tags) // 2), default=len(tags) // 2)
    assert module._split_point(tags) == expected
