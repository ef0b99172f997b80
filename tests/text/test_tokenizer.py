"""Tokenizers: trained ones preserve all text, and folders are compatible with transformers."""

import json

import pytest
import tokenizers
import transformers
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from turnwise.core.errors import InvalidParameter, ModelNotFound, UserError
from turnwise.text.tokenization.backend import copy_sharing_components
from turnwise.text.tokenization.bpe_training import DEFAULT_CHAT_TEMPLATE, END_TOKEN, PAD_TOKEN, ROLE_TOKENS, train_bpe
from turnwise.text.tokenization.tokenizer import Tokenizer

quick = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class TestTraining:
    @pytest.mark.costly
    @quick
    @given(text=st.text())
    @example(text="你好,世界 🚚👨\u200d👩\u200d👧 e\u0301\0\x01\x7f\u200b\ufeff\ufffd\uffff")
    @example(text="  \n\n\t a  b\r\n1234 <|end|> <|user|>")
    def test_encoding_and_decoding_preserve_any_text(self, tokenizer, text):
        assert tokenizer.decode(tokenizer.encode(text)) == text
        assert not tokenizer.special_ids & set(tokenizer.encode(text))

    def test_the_same_texts_give_the_same_tokenizer(self, corpus):
        first, second = (train_bpe(corpus, vocab_size=500).backend.to_str() for _ in range(2))
        assert first == second

    def test_a_larger_vocabulary_encodes_text_in_fewer_tokens(self, corpus, tokenizer):
        few = train_bpe(corpus, vocab_size=300)
        assert len(tokenizer.encode(corpus[0])) < len(few.encode(corpus[0])) < len(corpus[0].encode())

    @pytest.mark.parametrize("size", [0, 100, 256 + 5])
    def test_a_vocabulary_without_space_for_bytes_is_rejected(self, size):
        with pytest.raises(InvalidParameter, match="at least 262") as caught:
            train_bpe(["hello"], vocab_size=size)
        assert caught.value.param == "vocab_size"

    @pytest.mark.parametrize("texts", [[], ["hi"]])
    def test_little_data_gives_a_small_vocabulary(self, texts):
        tokenizer = train_bpe(texts, vocab_size=8192)
        assert 262 <= tokenizer.vocab_size < 300
        assert tokenizer.decode(tokenizer.encode("quite another text 你好")) == "quite another text 你好"

    def test_special_tokens_are_named(self, tokenizer):
        assert tokenizer.special_tokens == tuple(sorted([PAD_TOKEN, END_TOKEN, *ROLE_TOKENS], key=len, reverse=True))
        assert tokenizer.eos_token_id == tokenizer.token_to_id(END_TOKEN)
        assert tokenizer.pad_token_id == tokenizer.token_to_id(PAD_TOKEN)
        assert tokenizer.stop_ids == {tokenizer.eos_token_id}
        assert tokenizer.encode("a<|end|>", allow_special=True)[-1] == tokenizer.eos_token_id

    def test_every_digit_is_a_token(self, tokenizer):
        assert len(tokenizer.encode("1234567")) == 7


class TestFolders:
    def test_a_saved_tokenizer_is_loaded_unchanged(self, tokenizer, tmp_path, corpus):
        tokenizer.save(tmp_path)
        again = Tokenizer.load(tmp_path)
        assert again.backend.to_str() == tokenizer.backend.to_str()
        assert (again.special_tokens_map, again.chat_template) == (tokenizer.special_tokens_map, DEFAULT_CHAT_TEMPLATE)
        assert again.stop_ids == tokenizer.stop_ids
        assert again.encode(corpus[1]) == tokenizer.encode(corpus[1])
        again.save(tmp_path / "again")
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            assert (tmp_path / "again" / name).read_text() == (tmp_path / name).read_text()

    def test_transformers_loads_a_saved_tokenizer(self, tokenizer, tmp_path, corpus):
        tokenizer.save(tmp_path)
        for kind in (transformers.PreTrainedTokenizerFast, transformers.AutoTokenizer):
            theirs = kind.from_pretrained(tmp_path)
            for text in corpus:
                assert theirs(text, add_special_tokens=False)["input_ids"] == tokenizer.encode(text)
                assert theirs.decode(tokenizer.encode(text)) == text
            assert theirs.chat_template == DEFAULT_CHAT_TEMPLATE
            assert (theirs.eos_token, theirs.pad_token) == (END_TOKEN, PAD_TOKEN)

    def test_end_tokens_of_the_generation_config_are_stop_ids(self, tokenizer, tmp_path):
        tokenizer.save(tmp_path)
        (tmp_path / "config.json").write_text('{"eos_token_id": 9}')
        assert Tokenizer.load(tmp_path).stop_ids == {9, tokenizer.eos_token_id}
        (tmp_path / "generation_config.json").write_text('{"eos_token_id": [7, 8]}')
        assert Tokenizer.load(tmp_path).stop_ids == {7, 8, tokenizer.eos_token_id}

    @pytest.mark.parametrize("location", ["list", "text", "file", "json"])
    def test_the_template_is_read_from_every_published_file(self, tokenizer, tmp_path, location):
        tokenizer.save(tmp_path)
        (tmp_path / "chat_template.jinja").unlink()
        config = json.loads((tmp_path / "tokenizer_config.json").read_text())
        if location == "list":
            config["chat_template"] = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "yes"}]
        elif location == "text":
            config["chat_template"] = "yes"
        elif location == "file":
            (tmp_path / "chat_template.jinja").write_text("yes")
        else:
            (tmp_path / "chat_template.json").write_text('{"chat_template": "yes"}')
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
        assert Tokenizer.load(tmp_path).chat_template == "yes"

    def test_an_adapter_without_a_tokenizer_has_that_of_its_base_and_its_own_template(self, tokenizer, tmp_path):
        base, adapter = tmp_path / "base", tmp_path / "adapter"
        tokenizer.save(base)
        (base / "generation_config.json").write_text('{"eos_token_id": [3, 4]}')
        adapter.mkdir()
        unchanged = Tokenizer.load(adapter, base)
        assert unchanged.chat_template == tokenizer.chat_template
        assert unchanged.stop_ids >= {3, 4}
        (adapter / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
        (adapter / "generation_config.json").write_text('{"eos_token_id": 5}')
        own = Tokenizer.load(adapter, base)
        assert own.chat_template == "{{ messages[0]['content'] }}"
        assert own.stop_ids == {5, tokenizer.eos_token_id}
        assert own.encode("Hello") == tokenizer.encode("Hello")

    def test_named_tokens_may_be_objects(self, tokenizer, tmp_path):
        tokenizer.save(tmp_path)
        changed = {"eos_token": {"content": "<|user|>", "special": True}, "bos_token": None}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(changed))
        (tmp_path / "special_tokens_map.json").write_text('{"pad_token": "<|pad|>"}')
        assert Tokenizer.load(tmp_path).special_tokens_map == {"eos_token": "<|user|>", "pad_token": "<|pad|>"}

    def test_padding_and_truncation_settings_are_ignored(self, tokenizer, tmp_path):
        tokenizer.save(tmp_path)
        changed_backend = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
        changed_backend.enable_truncation(3)
        changed_backend.enable_padding(length=64)
        changed_backend.save(str(tmp_path / "tokenizer.json"))
        assert Tokenizer.load(tmp_path).encode("one two three four five") == tokenizer.encode("one two three four five")

    def test_the_post_processor_is_ignored_but_saved(self, tokenizer, tmp_path):
        tokenizer.save(tmp_path)
        changed_backend = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
        changed_backend.post_processor = tokenizers.processors.TemplateProcessing(
            "<|end|> $A", special_tokens=[("<|end|>", 1)]
        )
        changed_backend.save(str(tmp_path / "tokenizer.json"))
        ours = Tokenizer.load(tmp_path)
        assert ours.encode("hi") == tokenizer.encode("hi")
        ours.save(tmp_path / "again")
        theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "again")
        assert theirs("hi")["input_ids"] == [1, *tokenizer.encode("hi")]
        assert ours.encode("hi") == tokenizer.encode("hi")

    def test_the_vocabulary_size_includes_unused_ids(self, tokenizer):
        spread = json.loads(tokenizer.backend.to_str())
        spread["added_tokens"].append({**spread["added_tokens"][0], "id": 900, "content": "<|far|>"})
        spread["model"]["vocab"]["<|far|>"] = 900
        assert Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(spread))).vocab_size == 901


class TestGpt2Files:
    @pytest.fixture
    def folder(self, corpus, tmp_path):
        trained = tokenizers.ByteLevelBPETokenizer()
        trained.train_from_iterator(corpus, vocab_size=400, special_tokens=["<|endoftext|>"], show_progress=False)
        trained.save_model(str(tmp_path))
        return tmp_path

    def test_vocab_and_merges_make_a_tokenizer(self, folder, corpus):
        ours = Tokenizer.load(folder)
        theirs = transformers.GPT2Tokenizer.from_pretrained(folder)
        for text in corpus:
            assert ours.encode(text) == theirs(text)["input_ids"]
            assert ours.decode(ours.encode(text)) == text
        assert ours.special_tokens_map["eos_token"] == "<|endoftext|>"
        assert ours.stop_ids == {ours.token_to_id("<|endoftext|>")}
        assert ours.vocab_size == len(json.loads((folder / "vocab.json").read_text()))

    def test_add_prefix_space_is_applied(self, folder):
        (folder / "tokenizer_config.json").write_text('{"add_prefix_space": true}')
        spaced = Tokenizer.load(folder)
        assert spaced.encode("hello") == spaced.encode(" hello")

    def test_damaged_files_are_rejected(self, folder):
        (folder / "vocab.json").write_text("{")
        with pytest.raises(UserError, match=r"vocab\.json and merges\.txt in .* cannot be read"):
            Tokenizer.load(folder)


class TestErrors:
    def test_a_missing_folder(self, tmp_path):
        with pytest.raises(ModelNotFound, match="There is no folder"):
            Tokenizer.load(tmp_path / "nowhere")

    def test_a_folder_without_a_tokenizer(self, tmp_path):
        with pytest.raises(ModelNotFound, match="holds no tokenizer"):
            Tokenizer.load(tmp_path)

    @pytest.mark.parametrize("text", ["", "{", "{}", "[]"])
    def test_a_damaged_tokenizer_file(self, tmp_path, text):
        (tmp_path / "tokenizer.json").write_text(text)
        with pytest.raises(UserError, match=r"tokenizer\.json is not a tokenizer"):
            Tokenizer.load(tmp_path)

    @pytest.mark.parametrize(
        ("text", "message"), [("{", "readable JSON"), ("[]", "JSON object"), ("\xff", "readable JSON")]
    )
    def test_a_damaged_config(self, tokenizer, tmp_path, text, message):
        tokenizer.save(tmp_path)
        (tmp_path / "tokenizer_config.json").write_bytes(text.encode("latin-1"))
        with pytest.raises(UserError, match=message):
            Tokenizer.load(tmp_path)

    def test_a_file_that_transformers_cannot_convert(self, tmp_path):
        (tmp_path / "tokenizer.model").write_bytes(b"not a model")
        with pytest.raises(UserError, match="cannot convert the tokenizer"):
            Tokenizer.load(tmp_path)


@pytest.mark.costly
@pytest.mark.parametrize("kind", ["chatml", "llama3", "sentencepiece", "turnwise"])
@quick
@given(text=st.text(max_size=30))
def test_offsets_cover_the_text(tokenizer_of, kind, text):
    offsets = tokenizer_of(kind).encode_with_offsets(text).offsets
    position = 0
    for start, end in offsets:
        assert start <= position
        assert end >= position
        position = max(position, end)
    assert position == len(text)


@pytest.mark.parametrize("kind", ["turnwise", "chatml", "llama3", "mistral", "sentencepiece", "sentencepiece-legacy"])
def test_a_copy_that_shares_components_has_the_same_ids(tokenizer_of, kind):
    tokenizer = tokenizer_of(kind)
    shared, serialized = (
        copy_sharing_components(tokenizer.backend),
        tokenizers.Tokenizer.from_str(tokenizer.backend.to_str()),
    )
    assert shared is not None
    shared.encode_special_tokens = serialized.encode_special_tokens = True
    for text in ("Hello, how are you?", "  a\n\n你好 🚚 ", *(f"a {special}b" for special in tokenizer.special_tokens)):
        ids, expected = (backend.encode(text, add_special_tokens=False).ids for backend in (shared, serialized))
        assert ids == expected == tokenizer.encode(text)
        assert shared.decode(ids) == serialized.decode(ids)


def test_a_tokenizer_with_unused_ids_is_copied_by_serialization(tokenizer_of):
    state = json.loads(tokenizer_of("turnwise").backend.to_str())
    state["added_tokens"][-1]["id"] += 7
    state["model"]["vocab"].pop(state["added_tokens"][-1]["content"], None)
    tokenizer = Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(state)))
    special = state["added_tokens"][-1]["content"]
    assert not tokenizer.special_ids & set(tokenizer.encode(f"a {special} b"))
    assert tokenizer.decode(tokenizer.encode(f"a {special} b")) == f"a {special} b"
