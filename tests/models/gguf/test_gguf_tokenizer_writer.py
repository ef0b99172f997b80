"""Tokenizers written into GGUF files: the rule that splits text, tokens at the ends of a text, and stop tokens."""

import json
import shutil

import pytest

from turnwise.app.model_export import export_gguf
from turnwise.core.errors import UserError
from turnwise.models.gguf.pre_tokenizers import PRE_TOKENIZERS
from turnwise.models.gguf.tokenizer_writer import pre_tokenizer_name
from turnwise.models.model_folders import find_model_folder
from turnwise.text.tokenization.text_start import BPE_PATTERN
from turnwise.text.tokenization.tokenizer import Tokenizer


@pytest.fixture
def variant(folders, tmp_path):
    """`variant(tokenizer, **files)`: a copy of the Llama with changed keys in `tokenizer.json` and other JSON files."""

    def make(tokenizer, **files):
        folder = tmp_path / "variant"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(folders("llama"), folder)
        for name, changes in {"tokenizer": tokenizer, **files}.items():
            path = folder / f"{name}.json"
            content = json.loads(path.read_text()) if path.exists() else {}
            path.write_text(json.dumps(content | changes))
        return folder

    return make


def written_tokenizer(folder, tmp_path):
    """The tokenizer of a folder as it is read from a GGUF file."""
    path = tmp_path / "variant.gguf"
    export_gguf(str(folder), path, "f16")
    return Tokenizer.load(find_model_folder(str(path)))


def test_the_rule_of_a_tokenizer_is_found_by_its_parts():
    for name in ("qwen2", "llama-bpe", "smollm", "gpt-2", "default"):
        rule = PRE_TOKENIZERS[name]
        splits = [{"type": "Split", "pattern": {"Regex": p}, "behavior": "Isolated"} for p in rule.patterns]
        byte_level = {"type": "ByteLevel", "use_regex": False}
        content = {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [*splits, byte_level]},
                   "model": {"ignore_merges": rule.ignore_merges}}  # fmt: skip
        assert PRE_TOKENIZERS[pre_tokenizer_name(content)].patterns == rule.patterns
    digits = {"type": "Digits", "individual_digits": True}
    smollm = {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, {"type": "ByteLevel"}]}}
    assert PRE_TOKENIZERS[pre_tokenizer_name(smollm)].patterns == PRE_TOKENIZERS["smollm"].patterns
    assert pre_tokenizer_name({"pre_tokenizer": {"type": "Whitespace"}}) is None
    assert pre_tokenizer_name({}) is None


OWN_SPLIT = {"type": "Split", "pattern": {"Regex": BPE_PATTERN}, "behavior": "Isolated"}
SEQUENCE_OF_NFC = {"type": "Sequence", "normalizers": [{"type": "NFC"}]}


@pytest.mark.parametrize(
    ("normalizer", "expected"),
    [
        (None, "deepseek-r1-qwen"), ({"type": "Sequence", "normalizers": []}, "deepseek-r1-qwen"),
        ({"type": "NFC"}, "qwen2"), (SEQUENCE_OF_NFC, "qwen2"),
        ({"type": "Lowercase"}, None), ({"type": "NFKC"}, None),
        ({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]}, None),
    ],
)  # fmt: skip
def test_turnwise_rule_has_the_name_of_a_rule_with_the_same_normalizer(normalizer, expected):
    content = {"normalizer": normalizer, "pre_tokenizer": OWN_SPLIT}
    assert pre_tokenizer_name(content) == expected
    assert expected is None or PRE_TOKENIZERS[expected].is_nfc == (normalizer in ({"type": "NFC"}, SEQUENCE_OF_NFC))


def test_every_expression_and_normalizer_of_a_rule_counts():
    digits = {"type": "Digits", "individual_digits": True}
    assert pre_tokenizer_name({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [OWN_SPLIT, digits]}}) is None
    gpt2 = {"type": "ByteLevel", "add_prefix_space": False}
    assert pre_tokenizer_name({"pre_tokenizer": gpt2}) == "gpt-2"
    assert pre_tokenizer_name({"pre_tokenizer": gpt2, "normalizer": {"type": "NFC"}}) is None


@pytest.mark.parametrize("kind", ["Lowercase", "NFKC"])
def test_a_normalizer_that_llama_cpp_lacks_is_refused(variant, tmp_path, kind):
    with pytest.raises(UserError, match=f"as this tokenizer does after the normalizer {kind}"):
        written_tokenizer(variant({"normalizer": {"type": kind}}), tmp_path)


def template(*prefix, suffix=()):
    """Llama 3's post-processor: byte-level offsets, then tokens at the ends of a text."""
    ids = {"<|end|>": 1, "<|system|>": 2, "<|user|>": 3}
    tokens = {token: {"id": token, "ids": [ids[token]], "tokens": [token]} for token in (*prefix, *suffix)}
    before, after = ([{"SpecialToken": {"id": token, "type_id": 0}} for token in end] for end in (prefix, suffix))
    single = [*before, {"Sequence": {"id": "A", "type_id": 0}}, *after]
    pair = [*single, {"Sequence": {"id": "B", "type_id": 1}}]
    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
    processor = {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens}
    return {"post_processor": {"type": "Sequence", "processors": [byte_level, processor]}}


BOS = {"bos_token": {"content": "<|system|>"}, "eos_token": {"content": "<|end|>"}}


@pytest.mark.parametrize(
    ("post_processor", "expected"),
    [
        (template("<|system|>"), ((2,), ())),
        (template("<|system|>", suffix=["<|end|>"]), ((2,), (1,))),
        (template(suffix=["<|end|>"]), ((), (1,))),
        ({}, ((), ())),
    ],
)
def test_tokens_at_the_ends_of_a_text_are_written(variant, tmp_path, post_processor, expected):
    read = written_tokenizer(variant(post_processor, tokenizer_config=BOS), tmp_path)
    assert read.added_ids == expected
    assert (read.special_tokens_map["bos_token"], read.special_tokens_map["eos_token"]) == ("<|system|>", "<|end|>")


def test_a_bos_token_without_a_name_is_written(variant, tmp_path):
    assert written_tokenizer(variant(template("<|user|>")), tmp_path).bos_ids == (3,)


@pytest.mark.parametrize("post_processor", [template("<|system|>", "<|user|>"), template("<|user|>")])
def test_other_tokens_at_the_ends_of_a_text_are_refused(variant, tmp_path, post_processor):
    with pytest.raises(UserError, match="one BOS token before every text and one EOS token behind it"):
        written_tokenizer(variant(post_processor, tokenizer_config=BOS), tmp_path)


@pytest.mark.parametrize(
    ("eos_token", "stop_ids", "expected"),
    [
        ("<|end|>", 1, {1}),
        ("<|end|>", 3, {1, 3}),
        ("<|end|>", [1, 3, 4], {1, 3, 4}),
        ("<|user|>", [1, 2, 4], {1, 2, 3, 4}),  # <|end|> has no role: readers find it by its text
        (None, [4, 5], {1, 4, 5}),
    ],
)
def test_stop_tokens_are_written(variant, tmp_path, eos_token, stop_ids, expected):
    folder = variant({}, tokenizer_config={"eos_token": eos_token}, generation_config={"eos_token_id": stop_ids})
    assert written_tokenizer(folder, tmp_path).stop_ids == expected


def test_more_stop_tokens_than_the_format_can_name_are_refused(variant, tmp_path):
    folder = variant({}, generation_config={"eos_token_id": [1, 2, 3, 4]})
    message = "4 tokens end an answer of this model .*'<.assistant.>'.*, and a GGUF file can name 3"
    with pytest.raises(UserError, match=message):
        written_tokenizer(folder, tmp_path)
