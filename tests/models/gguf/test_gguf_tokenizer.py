"""The tokenizer of a GGUF file: exact ids of small vocabularies, and equal ids to llama.cpp on real ones."""

import json
import unicodedata

import pytest
from gguf.constants import GGUFValueType, TokenType
from gguf_files import write_gguf
from tokenizers import pre_tokenizers

from turnwise.core.errors import TemplateError, UserError
from turnwise.models.gguf.pre_tokenizers import PRE_TOKENIZERS
from turnwise.models.model_folders import find_model_folder
from turnwise.text.tokenization.tokenizer import Tokenizer

TEXT, FLAG, INTEGER = GGUFValueType.STRING, GGUFValueType.BOOL, GGUFValueType.UINT32
BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
CONTROL, USER_DEFINED, BYTE, UNKNOWN = (
    TokenType[name] for name in ("CONTROL", "USER_DEFINED", "BYTE", "UNKNOWN")
)  # fmt: skip


# The pieces of this text by the published expressions.
SAMPLE = "It's 12345 FooBar, don'T\n\n  x"
PIECES = {
    "gpt-2": ["It", "'s", " 12345", " FooBar", ",", " don", "'", "T", "\n\n ", " x"],
    "smollm": ["It", "'s", " ", "1", "2", "3", "4", "5", " FooBar", ",", " don", "'", "T", "\n\n ", " x"],
    "llama-bpe": ["It", "'s", " ", "123", "45", " FooBar", ",", " don", "'T", "\n\n", " ", " x"],
    "qwen2": ["It", "'s", " ", "1", "2", "3", "4", "5", " FooBar", ",", " don", "'T", "\n\n", " ", " x"],
    "tekken": ["It", "'s", " ", "1", "2", "3", "4", "5", " Foo", "Bar", ",", " don", "'T", "\n\n", " ", " x"],
    "gpt-4o": ["It's", " ", "123", "45", " Foo", "Bar", ",", " don'T", "\n\n", " ", " x"],
    "default": ["It", "'", "s", " ", "123", "45", " FooBar", ",", " don", "'", "T", "\n\n ", " x"],
    "deepseek-coder": ["It", "'", "s", " ", "1", "2", "3", "4", "5", " FooBar", ",", " don", "'", "T", "\n", "\n",
                       " ", " x"],
    "deepseek-v3": ["It", "'s", " ", "123", "45", " FooBar", ",", " don", "'T", "\n\n", " ", " x"],
}  # fmt: skip


SCORES = {"▁": -1.0, "a": -2.0, "b": -3.0, "c": -4.0, "bc": -5.0, "ab": -6.0, "▁a": -7.0, "<": -8.0, "s": -9.0,
          ">": -10.0, "<s": -11.0, "▁▁": -12.0}  # fmt: skip


def byte_level(*words, pre="gpt-2", special=(), user_defined=()):
    """A vocabulary with all bytes, the prefixes of some words, and added tokens."""
    tokens, merges = [*special, *user_defined, *BYTES], []
    for word in words:
        for end in range(2, len(word) + 1):
            if word[:end] not in tokens:
                tokens.append(word[:end])
                merges.append(f"{word[: end - 1]} {word[end - 1]}")

    def add(writer):
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre)
        writer.add_token_list(tokens)
        types = [CONTROL] * len(special) + [USER_DEFINED] * len(user_defined)
        writer.add_token_types(types + [1] * (len(tokens) - len(types)))
        writer.add_token_merges(merges)

    return add


def sentencepiece(pieces, *, special=("<unk>", "<s>", "</s>")):
    """A vocabulary of SentencePiece: control tokens, bytes, and `{piece: score}`."""

    def add(writer):
        writer.add_tokenizer_model("llama")
        writer.add_token_list([*special, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces])
        writer.add_token_types([UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[1] * len(pieces)])
        writer.add_token_scores([0.0] * 259 + list(pieces.values()))

    return add


@pytest.fixture
def tokenizer_of(model_folder, tmp_path):
    """`tokenizer_of(vocabulary, **metadata)`: the tokenizer of a file with this vocabulary."""

    def make(vocabulary, **metadata):
        entries = {f"tokenizer.{key.replace('ggml_', 'ggml.')}": value for key, value in metadata.items()}
        path = write_gguf(tmp_path / "m.gguf", model_folder, vocabulary=vocabulary, metadata=entries)
        return Tokenizer.load(find_model_folder(str(path)))

    return make


def tokens(tokenizer, text, **options):
    return [tokenizer.backend.id_to_token(id) for id in tokenizer.encode(text, **options)]


class TestByteLevel:
    def test_merges_apply_in_their_order(self, tokenizer_of):
        assert tokens(tokenizer_of(byte_level("hello", "Ġhe")), "hello help") == ["hello", "Ġ", "hel", "p"]

    def test_every_text_survives(self, tokenizer_of):
        tokenizer = tokenizer_of(byte_level("hello"))
        for text in ("  a\n\n b\t", "你好 🚚", "e\u0301", "\x00\x7f", "<|x|>"):
            assert tokenizer.decode(tokenizer.encode(text)) == text

    @pytest.mark.parametrize("pre", PIECES)
    def test_a_text_is_split_by_the_named_rule(self, tokenizer_of, pre):
        backend = tokenizer_of(byte_level("hello", pre=pre)).backend
        pieces = [SAMPLE[start:stop] for _, (start, stop) in backend.pre_tokenizer.pre_tokenize_str(SAMPLE)]
        assert pieces == PIECES[pre]

    @pytest.mark.parametrize("pre", sorted(PRE_TOKENIZERS))
    def test_every_rule_loads_and_keeps_the_text(self, tokenizer_of, pre):
        tokenizer = tokenizer_of(byte_level("hello", pre=pre))
        text = "Hello hello  12345\r\n 你好 naïve's <|x|> 🚚"
        assert tokenizer.decode(tokenizer.encode(text)) == text

    def test_llama3_prefers_a_whole_token_to_merging(self, tokenizer_of):
        def vocabulary(pre):
            def add(writer):
                byte_level("he", "hello", pre=pre)(writer)
                writer.kv_data[0]["tokenizer.ggml.merges"].value = ["h e"]  # no merges lead to "hello"

            return add

        assert tokens(tokenizer_of(vocabulary("gpt-2")), "hello") == ["he", "l", "l", "o"]
        assert tokens(tokenizer_of(vocabulary("llama-bpe")), "hello") == ["hello"]

    def test_qwen_composes_characters(self, tokenizer_of):
        tokenizer = tokenizer_of(byte_level("hello", pre="qwen2"))
        assert tokenizer.encode("e\u0301") == tokenizer.encode("\u00e9")


class TestAddedTokens:
    def test_control_tokens_are_special(self, tokenizer_of):
        tokenizer = tokenizer_of(byte_level("hello", special=["<|im_start|>", "<|im_end|>"]))
        assert tokenizer.encode("<|im_end|>", allow_special=True) == [1]
        assert len(tokenizer.encode("<|im_end|>")) == len("<|im_end|>")
        assert tokenizer.decode([1]) == ""
        assert tokenizer.stop_ids == {1}

    def test_user_defined_tokens_are_recognized_in_any_text(self, tokenizer_of):
        tokenizer = tokenizer_of(byte_level("hello", user_defined=["<think>", "  "]))
        assert tokenizer.encode("hello<think>  ")[-2:] == [0, 1]
        assert tokenizer.decode([0, 1]) == "<think>  "

    def test_an_end_token_of_another_type_is_special(self, tokenizer_of):
        tokenizer = tokenizer_of(byte_level("hello", user_defined=["<|eot_id|>"]))
        assert 0 in tokenizer.special_ids
        assert tokenizer.stop_ids == {0}

    def test_the_ids_in_the_file_have_their_roles(self, tokenizer_of):
        tokenizer = tokenizer_of(
            byte_level("hello", special=["<a>", "<b>", "<c>", "<d>"]), ggml_bos_token_id=(0, INTEGER),
            ggml_eos_token_id=(1, INTEGER), ggml_padding_token_id=(2, INTEGER), ggml_eot_token_id=(3, INTEGER),
        )  # fmt: skip
        assert tokenizer.special_tokens_map == {"bos_token": "<a>", "eos_token": "<b>", "pad_token": "<c>"}
        assert tokenizer.stop_ids == {1, 3}
        assert tokenizer.bos_ids == ()

    def test_an_id_beyond_the_vocabulary_is_ignored(self, tokenizer_of):
        assert tokenizer_of(byte_level("hello"), ggml_eos_token_id=(10**6, INTEGER)).stop_ids == frozenset()

    @pytest.mark.parametrize(("pre", "flag", "expected"), [
        ("gpt-2", None, ()), ("gpt-2", True, (0,)), ("llama-bpe", None, (0,)), ("llama-bpe", False, ()),
        ("tekken", None, (0,)),
    ])  # fmt: skip
    def test_bos_is_added_as_the_file_says(self, tokenizer_of, pre, flag, expected):
        flags = {} if flag is None else {"ggml_add_bos_token": (flag, FLAG)}
        tokenizer = tokenizer_of(
            byte_level("hello", pre=pre, special=["<s>", "</s>"]), ggml_bos_token_id=(0, INTEGER),
            ggml_eos_token_id=(1, INTEGER), ggml_add_eos_token=(True, FLAG), **flags,
        )  # fmt: skip
        assert tokenizer.bos_ids == expected


class TestSentencePiece:
    def test_the_pair_with_the_best_score_is_merged_first(self, tokenizer_of):
        tokenizer = tokenizer_of(sentencepiece(SCORES))
        assert tokens(tokenizer, "abc") == ["▁a", "bc"]
        assert tokens(tokenizer, "cab") == ["▁", "c", "ab"]

    def test_other_characters_become_bytes(self, tokenizer_of):
        tokenizer = tokenizer_of(sentencepiece(SCORES))
        assert tokens(tokenizer, "a好") == ["▁a", "<0xE5>", "<0xA5>", "<0xBD>"]
        for text in ("a好\n", "  a  b ", "好"):
            assert tokenizer.decode(tokenizer.encode(text)) == text

    def test_the_space_at_the_beginning_is_optional(self, tokenizer_of):
        tokenizer = tokenizer_of(sentencepiece(SCORES), ggml_add_space_prefix=(False, FLAG))
        assert tokens(tokenizer, "a a") == ["a", "▁a"]
        assert tokenizer.decode(tokenizer.encode(" a")) == " a"

    def test_the_text_of_a_control_token_is_not_merged_to_it(self, tokenizer_of):
        tokenizer = tokenizer_of(sentencepiece(SCORES))
        assert tokens(tokenizer, "<s>")[-2:] == ["<s", ">"]
        assert tokens(tokenizer, "<s>", allow_special=True) == ["<s>"]

    def test_bos_eos_and_unk_have_the_ids_of_llama_by_default(self, tokenizer_of):
        tokenizer = tokenizer_of(sentencepiece(SCORES))
        assert tokenizer.special_tokens_map == {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
        assert (tokenizer.bos_ids, tokenizer.stop_ids) == ((1,), {2})

    def test_scores_are_required(self, tokenizer_of):
        with pytest.raises(UserError, match=r"lacks the metadata 'tokenizer\.ggml\.scores'"):
            tokenizer_of(sentencepiece(SCORES), ggml_scores=None)


class TestChatTemplate:
    def test_it_is_that_of_the_file(self, tokenizer_of):
        template = "{% for m in messages %}{{ m['content'] }}\r\n{% endfor %}"
        assert tokenizer_of(byte_level("hello"), chat_template=(template, TEXT)).chat_template == template
        assert tokenizer_of(byte_level("hello")).chat_template is None

    def test_one_that_cannot_be_compiled_is_refused(self, tokenizer_of):
        with pytest.raises(TemplateError):
            tokenizer_of(byte_level("hello"), chat_template=("{% for", TEXT))


def test_a_file_made_from_a_folder_has_its_ids(tokenizer_of, tokenizer, corpus):
    """Written by the gguf package from a trained tokenizer whose expression is in the list under another name."""
    state = json.loads(tokenizer.backend.to_str())
    names = sorted(state["model"]["vocab"], key=state["model"]["vocab"].get)
    special = {token["id"] for token in state["added_tokens"]}

    def add(writer):
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("qwen2")
        writer.add_token_list(names)
        writer.add_token_types([CONTROL if id in special else 1 for id in range(len(names))])
        writer.add_token_merges([" ".join(merge) for merge in state["model"]["merges"]])

    converted = tokenizer_of(add)
    for text in corpus:
        text = unicodedata.normalize("NFC", text)
        assert converted.encode(text) == tokenizer.encode(text)
