"""A lower bound on the number of tokens, for every kind of tokenizer; it must never be above the truth."""

import random

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from turnwise.text.tokenization import tokenizer as module
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
def test_it_is_never_above_the_truth(tokenizer_of, kind, allow_special):
    tokenizer = tokenizer_of(kind)
    bound = bound_of(tokenizer)
    for seed in range(60):
        for text in texts(seed):
            assert bound(text) <= len(tokenizer.encode(text, allow_special=allow_special)), repr(text[:80])


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_of_use(tokenizer_of, kind):
    tokenizer = tokenizer_of(kind)
    text = "The cat sat on the mat, and was quite happy there. " * 500
    assert bound_of(tokenizer)(text) > len(tokenizer.encode(text)) / 20


@pytest.fixture
def composing(tokenizer_of):
    """A tokenizer that composes characters first, as Qwen's."""
    backend = Tokenizer.from_str(tokenizer_of("turnwise").backend.to_str())
    backend.normalizer = normalizers.NFC()
    return module.Tokenizer(backend)


def test_composition_may_shorten_a_text(composing):
    bound = bound_of(composing)
    for text in ("각" * 500, "\u212a" * 500, "a\u0302\u0301" * 500, "plain " * 500, *texts(3)):
        assert bound(text) <= len(composing.encode(text))
    assert bound("plain " * 500) > 0


def lossy(backend, **parts):
    for name, part in parts.items():
        setattr(backend, name, part)
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
def test_where_text_may_get_lost_there_is_none(tokenizer_of, change):
    backend = lossy(Tokenizer.from_str(tokenizer_of("turnwise").backend.to_str()), **change)
    assert bound_of(module.Tokenizer(backend))("a" * 10_000) == 0


def test_a_token_that_takes_the_white_space_around_it(tokenizer_of):
    backend = Tokenizer.from_str(tokenizer_of("turnwise").backend.to_str())
    backend.add_special_tokens([AddedToken("<mask>", lstrip=True, rstrip=True)])
    tokenizer = module.Tokenizer(backend)
    text = " \n\t\u3000" * 500 + "<mask>"
    assert bound_of(tokenizer)(text) <= len(tokenizer.encode(text, allow_special=True))


def test_a_byte_that_no_token_has(tokenizer_of):
    backend = Tokenizer(models.BPE({"a": 0, "b": 1}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = module.Tokenizer(backend)
    assert len(tokenizer.encode("ac" * 100)) == 100
    assert 99 <= bound_of(tokenizer)("ac" * 100) <= 100


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_text_has_the_ids_and_offsets_of_its_parts(tokenizer_of, kind):
    """Long texts are tokenized by another call than short ones."""
    tokenizer, text = tokenizer_of(kind), "Hello, how are you?\n你好 👩‍👩‍👧 e\u0301 " * 200
    assert len(text) > module.LONG
    plain = tokenizer.backend.encode(text, add_special_tokens=False)
    encoding = tokenizer.encode_with_offsets(text)
    assert encoding.ids == plain.ids
    assert list(encoding.offsets) == plain.offsets
    assert encoding.offsets[-1] == plain.offsets[-1]
    assert encoding.offsets[2:5] == plain.offsets[2:5]


def test_more_tokens_than_the_limit(tokenizer_of):
    tokenizer = tokenizer_of("turnwise")
    assert len(tokenizer.encode("a b c", max_tokens=3)) == 3
    with pytest.raises(TooManyTokens) as error:
        tokenizer.encode("a b c" * 2, max_tokens=3)
    assert error.value.is_exact
    assert error.value.count == len(tokenizer.encode("a b c" * 2))
