"""Token ids for embedding models: start and end tokens, prefixes, maximum length."""

import pytest

from turnwise.core.errors import ContextLengthExceeded, InvalidParameter
from turnwise.text.tokenization.embedding_tokenizer import EmbeddingTokenizer
from turnwise.text.tokenization.tokenizer import Tokenizer

CLS, SEP = 2, 3
PREFIXES = {"query": "query: ", "passage": "passage: "}


@pytest.fixture(scope="module")
def tokenizer(make_bert_folder):
    return Tokenizer.load(make_bert_folder())


def test_start_and_end_tokens_are_those_of_the_tokenizer(tokenizer):
    ids, is_truncated = EmbeddingTokenizer(tokenizer, 40).encode("the lamp is broken")
    assert (ids[0], ids[-1], is_truncated) == (CLS, SEP, False)
    assert tokenizer.added_ids == ((CLS,), (SEP,))
    assert ids[1:-1] == tokenizer.encode("the lamp is broken")


def test_a_tokenizer_that_adds_nothing_adds_nothing(corpus):
    from turnwise.text.tokenization.bpe_training import train_bpe

    assert train_bpe(corpus, vocab_size=300).added_ids == ((), ())


def test_start_and_end_tokens_are_known_without_a_token_for_the_letter_a():
    """A byte-pair vocabulary of one script has no ids for a text in another one."""
    import tokenizers

    backend = tokenizers.Tokenizer(tokenizers.models.BPE({"<s>": 0, "</s>": 1, "б": 2, "в": 3}, []))
    backend.add_special_tokens(["<s>", "</s>"])
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    assert Tokenizer(backend).added_ids == ((0,), (1,))


def test_special_tokens_in_a_text_are_text(tokenizer):
    ids, _ = EmbeddingTokenizer(tokenizer, 40).encode("the [SEP] lamp")
    assert SEP not in ids[1:-1]


@pytest.mark.parametrize(
    ("default_type", "input_type", "prefix"),
    [
        (None, None, ""),
        ("query", None, "query: "),
        ("query", "passage", "passage: "),
        ("query", "document", "passage: "),
        (None, "query", "query: "),
    ],
)
def test_the_type_of_an_input_selects_its_prefix(tokenizer, default_type, input_type, prefix):
    embedding_tokenizer = EmbeddingTokenizer(tokenizer, 40, prefixes=PREFIXES, default_type=default_type)
    plain = EmbeddingTokenizer(tokenizer, 40)
    assert embedding_tokenizer.encode("the lamp", input_type) == plain.encode(f"{prefix}the lamp")


def test_without_prefixes_all_types_are_alike(tokenizer):
    plain = EmbeddingTokenizer(tokenizer, 40)
    assert plain.encode("the lamp", "query") == plain.encode("the lamp", "passage") == plain.encode("the lamp")


def test_token_ids_get_start_and_end_tokens_once_and_no_prefix(tokenizer):
    embedding_tokenizer = EmbeddingTokenizer(tokenizer, 40, prefixes=PREFIXES, default_type="query")
    assert embedding_tokenizer.encode([5, 6]) == ([CLS, 5, 6, SEP], False)
    assert embedding_tokenizer.encode([CLS, 5, 6, SEP]) == ([CLS, 5, 6, SEP], False)
    assert embedding_tokenizer.encode([CLS, SEP]) == ([CLS, SEP], False)


def test_a_long_input_is_an_error_or_truncated_before_the_end_token(tokenizer):
    embedding_tokenizer = EmbeddingTokenizer(tokenizer, 6)
    text = "the lamp is broken hello world"
    with pytest.raises(ContextLengthExceeded, match="truncate_prompt_tokens") as error:
        embedding_tokenizer.encode(text)
    assert error.value.param == "input"
    words = tokenizer.encode(text)
    assert embedding_tokenizer.encode(text, truncate_prompt_tokens=-1) == ([CLS, *words[:4], SEP], True)
    assert embedding_tokenizer.encode(text, truncate_prompt_tokens=5) == ([CLS, *words[:3], SEP], True)
    assert embedding_tokenizer.encode("the lamp", truncate_prompt_tokens=5)[1] is False


@pytest.mark.parametrize("length", [0, 2, 7])
def test_a_length_out_of_range_is_rejected(tokenizer, length):
    with pytest.raises(InvalidParameter, match="from 3 to 6"):
        EmbeddingTokenizer(tokenizer, 6).max_ids(length)


def test_texts_are_lower_cased_where_the_model_says_so(tokenizer):
    assert EmbeddingTokenizer(tokenizer, 40, is_lower_cased=True)._with_prefix("The LAMP", None) == "the lamp"
