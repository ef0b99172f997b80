"""Words and their tokens: each word is found at its first token, whatever the tokenizer does with it."""

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.text.word_pieces import tokenize_words


def word_piece_tokenizer():
    """WordPiece of lower-case words, as in BERT: control characters are dropped, Chinese characters stand alone."""
    vocabulary = ["[UNK]", "[CLS]", "[SEP]", "new", "york", "##er", "##s", "play", "中", "国", ".", "'"]
    backend = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({token: id for id, token in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    backend.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    backend.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return Tokenizer(backend)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["New", "Yorkers", "play"], (0, 1, 4)),
        (["play", "\u200b", "new"], (0, None, 1)),
        (["中国", "new"], (0, 2)),
        (["york's", "."], (0, 3)),
        (["zzz", "play"], (0, 1)),
        ([], ()),
    ],
)
def test_a_word_is_at_its_first_token(words, expected):
    pieces = tokenize_words(word_piece_tokenizer(), words)
    assert pieces.first_pieces == expected


def test_the_tokens_of_some_words_are_a_range():
    pieces = tokenize_words(word_piece_tokenizer(), ["New", "Yorkers", "\u200b", "play"])
    assert pieces.token_range(1, 2) == (1, 4)
    assert pieces.token_range(2, 3) == (4, 4)
    assert pieces.token_range(3, 4) == (4, 5)
    assert pieces.token_range(0, 4) == (0, 5)


words = st.lists(st.text(alphabet="ab中é'.", min_size=1, max_size=4), min_size=1, max_size=5)


@settings(deadline=None)
@given(words=words)
def test_byte_level_tokens_of_the_words_make_up_the_text(tokenizer, words):
    pieces = tokenize_words(tokenizer, words)
    assert tokenizer.decode(list(pieces.ids)) == " ".join(words)
    assert None not in pieces.first_pieces
    assert sorted(pieces.first_pieces) == list(pieces.first_pieces)
    for number, word in enumerate(words):
        start, end = pieces.token_range(number, number + 1)
        assert word.startswith(tokenizer.decode(list(pieces.ids[start:end])).strip()[:1])
