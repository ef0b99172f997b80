"""A lower bound on the number of tokens, for every kind of tokenizer; it must never be above the truth."""

import random

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from turnwise.text.tokenization import tokenizer as module
from turnwise.text.tokenization.backend import MIN_BATCH_CALL_LENGTH
from turnwise.text.tokenization.encoding import TooManyTokens
from turnwise.text.tokenization.token_lower_bound import TokenLowerBound
from turnwise.text.tokenization.vocabulary import Vocabulary

KINDS = ["turnwise", "llama3", "mistral", "sentencepiece", "sentencepiece-legacy"]
PIECES = [
    "a", "the ", "Hello, how are you? ", " ", "    ", "\n", "\n\n", "\r\n", "\t", "é", "e\u0301", "\u212a", "각", "각",
    "你好", "👩‍👩‍👧", "▁", "▁▁▁▁", "<0x0A>", "<|im_start|>", "</s>", "\u3000", "\x00", "\U000f0000", "ﬁ", "1234567890",
    "____", "Ġ",
]  # fmt: skip


def bound_of(tokenizer):
    return TokenLowerBound(tokenizer, Vocabulary(tokenizer))


def texts(seed):
    chance = random.Random(seed)
    yield "".join(chance.choices(PIECES, k=chance.randint(1, 300)))
    yield chance.choice(PIECES) * chance.randint(1, 2000)


@pytest.mark.parametrize("allow_special", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_the_bound_is_never_above_the_number_of_tokens(tokenizer_of, kind, allow_special):
    tokenizer = tokenizer_of(kind)
    bound = bound_of(tokenizer)
    for seed in range(60):
        for text in texts(seed):
            assert bound(text) <= len(tokenizer.encode(text, allow_special=allow_special)), repr(text[:80])


@pytest.mark.parametrize("kind", KINDS)
def test_the_bound_is_close_enough_to_be_useful(tokenizer_of, kind):
    tokenizer = tokenizer_of(kind)
    text = "The cat sat on the mat, and was quite happy there. " * 500
    assert bound_of(tokenizer)(text) > len(tokenizer.encode(text)) / 20


@pytest.fixture
def nfc_tokenizer(tokenizer_of):
    """A tokenizer that composes characters first, as Qwen's."""
    backend = Tokenizer.from_str(tokenizer_of("turnwise").backend.to_str())
    backend.normalizer = normalizers.NFC()
    return module.Tokenizer(backend)


def test_composition_may_shorten_the_text(nfc_tokenizer):
    bound = bound_of(nfc_tokenizer)
    for text in ("각" * 500, "\u212a" * 500, "a\u0302\u0301" * 500, "plain " * 500, *texts(3)):
        assert bound(text) <= len(nfc_tokenizer.encode(text))
    assert bound("plain " * 500) > 0


def replace_components(backend, **components):
    for name, component in components.items():
        setattr(backend, name, component)
    return backend


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": normalizers.NFKC()},
        {"normalizer": normalizers.Lowercase()},
        {"normalizer": normalizers.Sequence([normalizers.NFC(), normalizers.Strip()])},
        {"normalizer": normalizers.Replace("a", "")},
        {"pre_tokenizer": pre_tokenizers.Sequence([pre_tokenizers.Split(" ", "removed"), pre_tokenizers.ByteLevel()])},
        {"pre_tokenizer": pre_tokenizers.WhitespaceSplit()},
        {"model": models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]")},
    ],
)
def test_the_bound_is_zero_if_the_tokenizer_may_delete_text(tokenizer_of, change):
    backend = replace_components(Tokenizer.from_str(tokenizer_of("turnwise").backend.to_str()), **change)
    assert bound_of(module.Tokenizer(backend))("a" * 10_000) == 0


def test_the_bound_holds_for_tokens_that_include_surrounding_white_space(tokenizer_of):
    backend = Tokenizer.from_str(tokenizer_of("turnwise").backend.to_str())
    backend.add_special_tokens([AddedToken("<mask>", lstrip=True, rstrip=True)])
    tokenizer = module.Tokenizer(backend)
    text = " \n\t\u3000" * 500 + "<mask>"
    assert bound_of(tokenizer)(text) <= len(tokenizer.encode(text, allow_special=True))


def test_the_bound_holds_for_bytes_without_a_token(tokenizer_of):
    backend = Tokenizer(models.BPE({"a": 0, "b": 1}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = module.Tokenizer(backend)
    assert len(tokenizer.encode("ac" * 100)) == 100
    assert 99 <= bound_of(tokenizer)("ac" * 100) <= 100


@pytest.mark.parametrize("kind", KINDS)
def test_the_batch_call_for_long_texts_returns_the_same_ids_and_offsets(tokenizer_of, kind):
    tokenizer, text = tokenizer_of(kind), "Hello, how are you?\n你好 👩‍👩‍👧 e\u0301 " * 200
    assert len(text) > MIN_BATCH_CALL_LENGTH
    plain = tokenizer.backend.encode(text, add_special_tokens=False)
    encoding = tokenizer.encode_with_offsets(text)
    assert encoding.ids == plain.ids
    assert list(encoding.offsets) == plain.offsets
    assert encoding.offsets[-1] == plain.offsets[-1]
    assert encoding.offsets[2:5] == plain.offsets[2:5]


def test_more_than_max_tokens_raises_the_exact_count(tokenizer_of):
    tokenizer = tokenizer_of("turnwise")
    assert len(tokenizer.encode("a b c", max_tokens=3)) == 3
    with pytest.raises(TooManyTokens) as error:
        tokenizer.encode("a b c" * 2, max_tokens=3)
    assert error.value.is_exact
    assert error.value.count == len(tokenizer.encode("a b c" * 2))
