"""Damaged and hostile model folders: every field of every file, and the files themselves.

Opening a folder for serving either works or ends soon with a message of one sentence. The kinds of damage come from
reports about other programs (CVE-2024-34359 for templates, the retry limit of onig for regular expressions) and from
experiments.
"""

import contextlib
import copy
import json
import shutil
import time

import pytest
import tokenizers
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from turnwise.app.chat_services import open_chat_service
from turnwise.core.errors import UserError
from turnwise.models.adapters import LoraWeights, save_adapter
from turnwise.models.checkpoint import load
from turnwise.text.tokenization.tokenizer import Tokenizer

MAX_SECONDS = 10  # limit against hanging; each case takes a fraction of a second
DELETE = object()
DEEPLY_NESTED = json.loads("[" * 200 + "]" * 200)
VALUES = [
    DELETE, None, True, False, 0, 1, -1, -5, 3, 257, 10**5, 10**9, 2**31, 2**63, 10**18, 10**30, 0.0,
    -0.5, 1e-320, 1e300, "", "x", "\x1b[2J\n", "é" * 50, "(a+)+$", "{{", [], [[]], [None], ["x"] * 5, list(range(50)),
    {}, {"x": 1}, {"content": 3}, {"type": "x"}, DEEPLY_NESTED,
]  # fmt: skip
FILES = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
         "demonstrations.json", "adapter_config.json", "adapter_base.json"]  # fmt: skip


@pytest.fixture(scope="module")
def valid_folders(tmp_path_factory, model_folder):
    """Folders "model" and "adapter" in which every file has every field that is read."""
    model = shutil.copytree(model_folder, tmp_path_factory.mktemp("valid") / "model")
    edit(model / "config.json", sliding_window=None, layer_types=None, rope_scaling=None, partial_rotary_factor=1.0,
         quantization_config=None, pad_token_id=0, is_encoder_decoder=False,
         rope_parameters={"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
                          "high_freq_factor": 4.0, "original_max_position_embeddings": 64})  # fmt: skip
    edit(model / "generation_config.json", eos_token_id=[0, 1], temperature=0.5, top_k=5, top_p=0.9, do_sample=True,
         repetition_penalty=1.1, suppress_tokens=[3], max_length=100, num_beams=1, seed=1)  # fmt: skip
    edit(model / "special_tokens_map.json", bos_token={"content": "<|end|>"}, eos_token="<|end|>")
    edit(model / "tokenizer_config.json", add_prefix_space=False,
         chat_template=[{"name": "default", "template": "{{ messages[0]['content'] }}"}])  # fmt: skip
    dialogue = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    edit(model / "demonstrations.json", shots=1, dialogues=[dialogue])
    adapter = model.parent / "adapter"
    adapter.mkdir()
    change = LoraWeights(torch.randn(2, 32), torch.randn(32, 2))
    save_adapter(adapter, {"model.layers.0.self_attn.q_proj": change}, base=model, rank=2, alpha=4.0, dropout=0.0,
                 task_type="CAUSAL_LM")  # fmt: skip
    for path in model.glob("tokenizer*"):
        shutil.copy(path, adapter)
    return {"model": model, "adapter": adapter}


def edit(path, **changes):
    loaded = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(loaded | changes))


def json_paths(value, path=(), depth=0):
    """Paths of a JSON value to damage: every field, and the first entries of lists and of large objects."""
    yield path
    if depth == 5:
        return
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for number, (key, child) in enumerate(entries):
        if number < 30:
            yield from json_paths(child, (*path, key), depth + 1)


def with_damage(value, path, replacement):
    if not path:
        return {} if replacement is DELETE else replacement
    value = copy.deepcopy(value)
    parent = value
    for key in path[:-1]:
        parent = parent[key]
    if replacement is DELETE:
        del parent[path[-1]]
    else:
        parent[path[-1]] = replacement
    return value


def open_or_rejection(folder, **options):
    """Open a folder as `turnwise serve` does. Returns the message of the rejection, or None."""
    start = time.monotonic()
    try:
        with open_chat_service(str(folder), max_num_seqs=1, **options):
            return None
    except UserError as error:
        message = str(error)
        assert "\n" not in message
        assert "\x1b" not in message
        assert len(message) < 800
        return message
    finally:
        assert time.monotonic() - start < MAX_SECONDS


@pytest.fixture(scope="module")
def cases(valid_folders):
    all_cases = []
    for name in FILES:
        folder_kind = "adapter" if name.startswith("adapter") else "model"
        loaded = json.loads((valid_folders[folder_kind] / name).read_text())
        all_cases += [(folder_kind, name, path) for path in json_paths(loaded)]
    return all_cases


def test_the_valid_folders_open(valid_folders):
    assert open_or_rejection(valid_folders["model"]) is None
    assert open_or_rejection(valid_folders["adapter"]) is None


@pytest.mark.slow
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_random_damage_in_any_field_of_any_file_opens_or_is_rejected(valid_folders, cases, data):
    folder_kind, name, path = data.draw(st.sampled_from(cases))
    open_with_damage(
        valid_folders[folder_kind] / name, path, data.draw(st.sampled_from(VALUES)), valid_folders[folder_kind]
    )


@pytest.mark.parametrize("name", [name for name in FILES if name != "tokenizer.json"])
@pytest.mark.costly
def test_huge_numbers_and_wrong_types_in_each_field_open_or_are_rejected(valid_folders, cases, name):
    for folder_kind, file, path in cases:
        if file == name and len(path) < 3:
            for value in (10**18, "x", [], {"x": 1}, -5, DELETE):
                open_with_damage(valid_folders[folder_kind] / name, path, value, valid_folders[folder_kind])


def open_with_damage(path, field, value, folder):
    original = path.read_bytes()
    try:
        path.write_text(json.dumps(with_damage(json.loads(original), field, value)))
        open_or_rejection(folder)
    finally:
        path.write_bytes(original)


@pytest.mark.parametrize(
    ("family", "case"),
    [("mistral", "windowed"), ("qwen2", "listed windowed"), ("qwen3", "windowed"), ("smollm3", "listed windowed"),
     ("gpt2", "tied")],
)  # fmt: skip
@pytest.mark.costly
def test_damage_in_each_field_of_each_family_loads_or_is_rejected(published, tmp_path, family, case):
    folder = shutil.copytree(published(family, case)[0], tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    for field in config:
        for value in (10**5, 10**18, "x", [], [None], {"x": 1}, -5, 0.5, DELETE):
            (folder / "config.json").write_text(json.dumps(with_damage(config, (field,), value)))
            with contextlib.suppress(UserError):
                load(folder, dtype=torch.float32)


@pytest.fixture
def folder(valid_folders, tmp_path):
    """A copy of the valid model that tests may damage."""
    return shutil.copytree(valid_folders["model"], tmp_path / "model")


JSON_FILES = [name for name in FILES if not name.startswith("adapter")]
INVALID_JSON = {
    "nested": b'{"x": ' + b"[" * 10**5 + b"]" * 10**5 + b"}",
    "nested a little": b'{"x": ' + b"[" * 500 + b"]" * 500 + b"}",
    "digits": b'{"num_hidden_layers": ' + b"9" * 10**6 + b"}",
    "infinite": b'{"shots": 1e999}',
    "NaN": b'{"temperature": NaN}',
    "Latin-1": '{"eos_token": "é"}'.encode("latin-1"),
    "half a character": b'{"eos_token": "\\ud800"}',
    "empty": b"",
    "truncated": b'{"model_type": "lla',
    "no object": b"[1, 2]",
    "zeros": bytes(100),
}


@pytest.mark.parametrize("content", INVALID_JSON.values(), ids=INVALID_JSON.keys())
@pytest.mark.parametrize("name", JSON_FILES)
def test_a_file_that_is_not_a_json_object_is_rejected_by_name(folder, name, content):
    (folder / name).write_bytes(content)
    assert name in open_or_rejection(folder)


def test_a_file_that_is_too_large_is_rejected_with_its_size(folder):
    with (folder / "config.json").open("wb") as file:
        file.truncate(10**12)
    assert "1,000,000,000,000 bytes" in open_or_rejection(folder)


TEMPLATES = {
    "parentheses": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "brackets": "{{ " + "[" * 150 + "]" * 150 + " }}",
    "ifs": "{% if true %}" * 3000 + "{% endif %}" * 3000,
    "a hundred ifs": "{% if true %}" * 120 + "{% endif %}" * 120,
    "loops": "{% for x in messages %}" * 30 + "{% endfor %}" * 30,
    "unary": "{{ " + "not " * 20000 + "1 }}",
    "open": "{{ messages",
    "unknown": "{% frobnicate %}",
    "long": "x" * 200_000,
    "Latin-1": "Gr\xfc\xdfe".encode("latin-1"),
    "huge": b"x" * 10**7,
}


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES.keys())
def test_an_invalid_chat_template_is_rejected(folder, template):
    (folder / "chat_template.jinja").write_bytes(template if isinstance(template, bytes) else template.encode())
    assert "template" in open_or_rejection(folder)


def split_by(pattern):
    return {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}}


def replacing(*contents):
    steps = [{"type": "Replace", "pattern": {"String": "a"}, "content": content} for content in contents]
    return {"normalizer": {"type": "Sequence", "normalizers": steps}}


TOKENIZERS = {
    "a regular expression with catastrophic backtracking": split_by("(a+)+b"),
    "an invalid regular expression": split_by("("),
    "a deeply nested regular expression": split_by("(" * 10_000),
    "exponential replacement": replacing(*["aa"] * 60),
    "a huge replacement": replacing("a" * 2000),
    "an id out of range": {"model": {"type": "WordLevel", "vocab": {"x": 0, "y": 4_000_000_000}, "unk_token": "x"}},
    "pieces of length zero": {"pre_tokenizer": {"type": "FixedLength", "length": 0}},
    "a decoder that strips more than there is": {
        "decoder": {"type": "Strip", "content": "a", "start": 0, "stop": 10**6}},
}  # fmt: skip


@pytest.mark.parametrize("changes", TOKENIZERS.values(), ids=TOKENIZERS.keys())
def test_a_tokenizer_that_fails_is_rejected_without_a_panic_message(folder, changes, capfd):
    edit(folder / "tokenizer.json", **changes)
    assert "tokenizer" in open_or_rejection(folder)
    assert "panicked" not in capfd.readouterr().err


def test_a_tokenizer_panic_during_a_request_is_a_user_error(tokenizer):
    backend = tokenizers.Tokenizer.from_str(tokenizer.backend.to_str())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex("(z+)+y"), "isolated")
    with pytest.raises(UserError, match="tokenizer fails on this text"):
        Tokenizer(backend).encode("z" * 60)


def rewrite_header(path, change):
    """Replace the header of a safetensors file and keep its data."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = change(content[8 : 8 + length])
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])


def with_first_tensor(**changes):
    def change(header):
        loaded = json.loads(header)
        name = next(name for name in loaded if name != "__metadata__")
        loaded[name] |= changes
        return json.dumps(loaded).encode()

    return change


HEADERS = {
    "no json": lambda header: b"x" * len(header),
    "a list": lambda header: b"[]",
    "nested": lambda header: b'{"x": ' + b"[" * 10**5 + b"]" * 10**5 + b"}",
    "shape": with_first_tensor(shape=[2**40, 2**40]),
    "negative shape": with_first_tensor(shape=[-1]),
    "many dimensions": with_first_tensor(shape=[1] * 1000),
    "a shape that is text": with_first_tensor(shape="x"),
    "offsets": with_first_tensor(data_offsets=[0, 2**62]),
    "reversed offsets": with_first_tensor(data_offsets=[100, 0]),
    "one offset": with_first_tensor(data_offsets=[0]),
    "unknown type": with_first_tensor(dtype="F7"),
    "no type": with_first_tensor(dtype=None),
    "smaller type": with_first_tensor(dtype="F16"),
}


@pytest.mark.parametrize("change", HEADERS.values(), ids=HEADERS.keys())
def test_an_invalid_safetensors_header_is_rejected(folder, change):
    rewrite_header(folder / "model.safetensors", change)
    assert str(folder) in open_or_rejection(folder)


@pytest.mark.parametrize("length", [0, 1, 2**40, 2**64 - 1])
def test_a_wrong_header_length_is_rejected(folder, length):
    path = folder / "model.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])
    assert "model.safetensors is damaged" in open_or_rejection(folder)


def test_a_tensor_in_two_files_is_rejected(folder):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    save_file(tensors, folder / "one.safetensors")
    save_file({"model.norm.weight": tensors["model.norm.weight"]}, folder / "two.safetensors")
    edit(folder / "model.safetensors.index.json", weight_map={"a": "one.safetensors", "b": "two.safetensors"})
    assert "in two of the weight files" in open_or_rejection(folder)


T5 = {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True, "d_model": 16,
      "d_kv": 4, "d_ff": 32, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4, "vocab_size": 600,
      "decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0, "relative_attention_num_buckets": 8,
      "relative_attention_max_distance": 20, "dropout_rate": 0.0, "feed_forward_proj": "relu"}  # fmt: skip


@pytest.mark.costly
def test_damage_in_each_field_of_a_transformers_model_opens_or_is_rejected(folder, one_thread):
    for path in folder.glob("*.safetensors"):
        path.unlink()
    transformers.T5ForConditionalGeneration(transformers.T5Config(**T5)).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    assert open_or_rejection(folder) is None
    for field in config.keys() & T5.keys():
        for value in (10**9, 10**18, "x", [], -5, None, DELETE):
            (folder / "config.json").write_text(json.dumps(with_damage(config, (field,), value)))
            open_or_rejection(folder)
