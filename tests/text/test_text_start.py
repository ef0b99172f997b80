"""The start of a long text has the same ids as in the complete text, and little more than the start is tokenized."""

from unittest.mock import patch

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models, normalizers, pre_tokenizers, trainers

from turnwise.text.tokenization import text_start
from turnwise.text.tokenization.text_start import encode_start, find_cut_pattern
from turnwise.text.tokenization.tokenizer import Tokenizer

CORPUS = [
    "Ada's house, 1234 \n\n谢谢你 na\u0308chste שלום world!!\n a  b",
    "the cat sat on the mat.\nfoo-bar baz\t_x_",
] * 8
GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
BERT = normalizers.BertNormalizer(lowercase=True, handle_chinese_chars=True)


def trained(model, trainer, pre_tokenizer, normalizer=None):
    """A tokenizer that was trained on the corpus."""
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        backend.normalizer = normalizer
    backend.train_from_iterator(CORPUS, trainer)
    return Tokenizer(backend)


def byte_level(pre_tokenizer, normalizer=None):
    trainer = trainers.BpeTrainer(
        vocab_size=400, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    return trained(models.BPE(), trainer, pre_tokenizer, normalizer)


def word_piece(pre_tokenizer, normalizer=BERT):
    trainer = trainers.WordPieceTrainer(vocab_size=120, show_progress=False, special_tokens=["[UNK]"])
    return trained(models.WordPiece(unk_token="[UNK]"), trainer, pre_tokenizer, normalizer)


@pytest.fixture(scope="module")
def cuttable(tokenizer):
    """Tokenizers of which the start of a text is known, by name."""
    split = pre_tokenizers.Split(tokenizers.Regex(GPT2_PATTERN), "isolated")
    unigram = trainers.UnigramTrainer(vocab_size=100, show_progress=False, unk_token="<unk>", special_tokens=["<unk>"])
    prepended = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(tokenizers.Regex(" {2,}"), " ")])
    return {
        "turnwise": tokenizer,
        "gpt2": byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False)),
        "roberta": byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True), normalizers.NFC()),
        "smollm": byte_level(
            pre_tokenizers.Sequence(
                [pre_tokenizers.Digits(True), split, pre_tokenizers.ByteLevel(False, use_regex=False)]
            )
        ),
        "bert": word_piece(pre_tokenizers.BertPreTokenizer()),
        "whitespace": word_piece(pre_tokenizers.WhitespaceSplit(), normalizers.Lowercase()),
        "xlm-r": trained(models.Unigram(), unigram, pre_tokenizers.Metaspace(), prepended),
    }


NAMES = ("turnwise", "gpt2", "roberta", "smollm", "bert", "whitespace", "xlm-r")
PIECES = st.sampled_from(
    ["Ada", "'s", "cat", " ", "  ", "\n", "\r\n", "\t", ".", "!!", "123", "谢谢", "你", "。", "שלום", "\u200f",
     "\u200d", "a\u0308", "\u0301", "é", "_", "ﷺ", "😀", "\u00a0", "\u2028", "\x1c", "Σ", "x-y"]
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=150)
@given(pieces=st.lists(PIECES, max_size=30), max_ids=st.integers(0, 12))
def test_the_ids_are_the_first_of_the_complete_text(cuttable, name, pieces, max_ids):
    text, tokenizer = "".join(pieces), cuttable[name]
    ids = tokenizer.encode(text)
    with patch.multiple(text_start, MIN_CHARACTERS=1, CHARACTERS_PER_ID=0):
        assert tokenizer.encode_start(text, max_ids) == (ids[:max_ids], len(ids) > max_ids)


@pytest.mark.parametrize("name", NAMES)
def test_of_a_long_text_only_the_start_is_tokenized(cuttable, name):
    lengths = []

    def encode(text):
        lengths.append(len(text))
        return cuttable[name].encode(text)

    cut_pattern = find_cut_pattern(cuttable[name].backend)
    ids, is_longer = encode_start(encode, cut_pattern, "the cat sat on the mat.\n" * 10_000, 100)
    assert (len(ids), is_longer) == (100, True)
    assert sum(lengths) < 20_000


def test_chinese_text_without_spaces_is_cut_where_characters_are_words(cuttable):
    text = "谢谢你" * 10_000
    assert find_cut_pattern(cuttable["bert"].backend).search(text, 5000).start() == 5000


def test_a_text_of_words_without_tokens_is_read_to_its_end(cuttable):
    text = "\u200b " * 20_000 + "cat"
    assert cuttable["bert"].encode_start(text, 5) == (cuttable["bert"].encode("cat"), False)


@pytest.mark.parametrize(
    "change",
    [
        {"pre_tokenizer": pre_tokenizers.Metaspace(split=False)},
        {"pre_tokenizer": pre_tokenizers.ByteLevel(use_regex=False)},
        {"pre_tokenizer": pre_tokenizers.Split(tokenizers.Regex(r"\w+ \w+"), "isolated")},
        {"pre_tokenizer": pre_tokenizers.Sequence([])},
        {"normalizer": normalizers.Replace(tokenizers.Regex(r"t\s+s"), "ts")},
        {"normalizer": normalizers.Replace("t s", "ts")},
    ],
    ids=lambda change: str(change)[:60],
)
def test_tokenizers_whose_tokens_may_cross_spaces_read_the_complete_text(change):
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel()
    for name, component in change.items():
        setattr(backend, name, component)
    assert find_cut_pattern(backend) is None


def test_an_added_token_with_a_space_inside_forbids_cuts(tokenizer):
    assert find_cut_pattern(tokenizer.with_special_tokens(["<|x|>"]).backend) is not None
    assert find_cut_pattern(tokenizer.with_special_tokens(["<|x y|>"]).backend) is None
