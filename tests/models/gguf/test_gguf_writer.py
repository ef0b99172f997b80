"""Models written as GGUF files: they load with the same logits, tokens and template, here and in llama.cpp."""

import asyncio
import json
import subprocess
import tracemalloc

import numpy as np
import pytest
import torch
from exported_folders import FAMILIES, SIZES

from turnwise.app.chat_services import open_chat_service
from turnwise.app.model_export import convert_model, export_gguf
from turnwise.core.chat_request import ChatRequest
from turnwise.core.errors import InvalidData, TurnwiseError, UserError
from turnwise.core.messages import Message
from turnwise.models.block_quantization import quantize_matrix
from turnwise.models.checkpoint import Checkpoint, create, load, read_decoder_config
from turnwise.models.decoder_config import DecoderConfig, RopeConfig
from turnwise.models.decoder_weights import ModuleWeights
from turnwise.models.gguf.tokenizer_writer import GgufTokenizer
from turnwise.models.gguf.writer import block_formats, write_gguf
from turnwise.models.model_folders import find_model_folder
from turnwise.models.quantized_blocks import QuantizedBlocks
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.training.export import export_model

TEXTS = ["How do I cancel order 1234?", "  It's 12 o'clock\n\nnow!", "你好,世界 🙂", "cafe\u0301", "<|end|> is text"]


def logits(folder):
    model = load(find_model_folder(str(folder)), dtype=torch.float32)
    with torch.inference_mode():
        return model.decoder.logits(model.decoder(torch.arange(5, 45)[None]))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_written_file_has_the_logits_tokens_and_template_of_its_folder(folders, tmp_path, name):
    folder, path = folders(name), tmp_path / "model.gguf"
    result = export_gguf(str(folder), path, "f32")
    assert (result.path, result.num_bytes, result.calibration_tokens) == (path, path.stat().st_size, 0)
    torch.testing.assert_close(logits(path), logits(folder), rtol=1e-5, atol=1e-5)
    original, read = (Tokenizer.load(source) for source in (folder, find_model_folder(str(path))))
    assert [read.encode(text) for text in TEXTS] == [original.encode(text) for text in TEXTS]
    assert (read.chat_template, read.stop_ids) == (original.chat_template, original.stop_ids)
    assert read.special_ids == original.special_ids


@pytest.mark.parametrize("gguf_type", ["f16", "bf16"])
def test_half_precision_rounds_every_matrix_once(folders, tmp_path, gguf_type):
    folder, path = folders("llama"), tmp_path / "model.gguf"
    export_gguf(str(folder), path, gguf_type)
    dtype = torch.float16 if gguf_type == "f16" else torch.bfloat16
    stored, original = (Checkpoint(find_model_folder(str(source)), dtype=torch.float32) for source in (path, folder))
    for name in ("layers.1.attention.qkv.weight", "layers.0.mlp.down.weight", "embed.weight"):
        assert torch.equal(stored.tensor(name), original.tensor(name).to(dtype))
    assert torch.equal(stored.tensor("norm.weight"), original.tensor("norm.weight"))


@pytest.mark.parametrize("gguf_type", ["q8_0", "q4_0", "q4_1"])
def test_blocks_are_those_of_the_rounded_matrices(folders, tmp_path, gguf_type):
    folder, path = folders("llama"), tmp_path / "model.gguf"
    export_gguf(str(folder), path, gguf_type)
    stored, original = (Checkpoint(find_model_folder(str(source)), dtype=torch.float32) for source in (path, folder))
    for name, block_format in (("layers.0.attention.qkv.weight", gguf_type.upper()), ("embed.weight", "Q8_0")):
        assert set(stored.block_formats(name)) == {block_format}
        expected = quantize_matrix(original.tensor(name), block_format).dequantize()
        torch.testing.assert_close(stored.tensor(name), torch.from_numpy(expected), rtol=0, atol=0)


def test_calibration_reads_dialogues_and_lowers_the_error(folders, tmp_path):
    folder, dialogues = folders("llama"), tmp_path / "talks.jsonl"
    texts = ["How do I cancel my order?", "It is late, isn't it?", "12 34 late orders"]
    rows = [{"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": text}]} for text in texts]
    dialogues.write_text("\n".join(json.dumps(row) for row in rows * 20))
    errors = {}
    for calibrate in (False, True):
        path = tmp_path / f"{calibrate}.gguf"
        calibration = dialogues if calibrate else None
        result = export_gguf(str(folder), path, "q4_0", calibrate=calibrate, calibration=calibration)
        assert (result.calibration_tokens > 0) == calibrate
        ids = torch.tensor([Tokenizer.load(folder).encode(" ".join(texts))[:60]])
        original, rounded = (load(find_model_folder(str(source)), dtype=torch.float32) for source in (folder, path))
        with torch.inference_mode():
            expected, actual = (model.decoder(ids) for model in (original, rounded))
        errors[calibrate] = float((actual - expected).norm())
    assert errors[True] < errors[False]


def test_a_calibration_file_that_is_too_short_is_refused(folders, tmp_path):
    dialogues = tmp_path / "short.jsonl"
    dialogues.write_text('{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hi"}]}')
    with pytest.raises(InvalidData, match="calibration needs at least 128"):
        export_gguf(str(folders("llama")), tmp_path / "m.gguf", "q4_1", calibrate=True, calibration=dialogues)
    assert list(tmp_path.iterdir()) == [dialogues]


def test_a_file_appears_only_when_it_is_complete(folders, tmp_path, monkeypatch):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"old")

    def fail(*_):
        raise UserError("no more")

    monkeypatch.setattr("turnwise.models.block_quantization.quantize_matrix", fail)
    with pytest.raises(UserError, match="no more"):
        export_gguf(str(folders("llama")), path, "q8_0")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


LOST_SETTINGS = {
    "'activation' is gelu_tanh, and the architecture 'llama' in llama.cpp has silu": (
        "llama", {"activation": "gelu_tanh"},
    ),
    "'activation' is silu, and the architecture 'gpt2' in llama.cpp has gelu_tanh": ("gpt2", {"activation": "silu"}),
    r"'no_rope_layers' is \[1, 3\], and the architecture 'smollm3' in llama.cpp has \[3\]": (
        "smollm3", {"num_layers": 4, "no_rope_layers": frozenset({1, 3})},
    ),
    "rotary scaling in 'rope_freqs.weight' is not that of Llama 3": (
        "llama", {"rope": RopeConfig(5e5, "llama3", 8.0, 2.0, 4.0)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("message", LOST_SETTINGS)
def test_settings_that_the_file_would_lose_are_refused(folders, tmp_path, message):
    family, changes = LOST_SETTINGS[message]
    export_family(tmp_path / "folder", folders, family, **changes)
    path = tmp_path / "model.gguf"
    with pytest.raises(UserError, match=f"This model cannot be written as GGUF: .*{message}"):
        export_gguf(str(tmp_path / "folder"), path, "f16")
    assert not path.exists()


def test_settings_are_compared_as_the_numbers_of_the_format(folders, tmp_path):
    changes = {"norm_eps": 9.999999747378752e-06, "rope": RopeConfig(12_345.678, "linear", 2.5)}
    export_family(tmp_path / "folder", folders, "llama", **changes)
    export_gguf(str(tmp_path / "folder"), tmp_path / "model.gguf", "f16")
    config = read_decoder_config(find_model_folder(str(tmp_path / "model.gguf")))
    assert (config.norm_eps, config.rope.theta, config.rope.factor) == (1e-5, 12_345.678, 2.5)


def export_family(folder, folders, family, **changes):
    tokenizer = Tokenizer.load(folders("llama"))
    settings = {"family": family, "vocab_size": tokenizer.vocab_size, "context_length": 128, "tied": True}
    export_model(folder, create(DecoderConfig(**settings | SIZES | FAMILIES[family] | changes)), tokenizer)


def test_one_tensor_is_in_memory_at_a_time(folders, tmp_path):
    tokenizer = Tokenizer.load(folders("llama"))
    config = DecoderConfig(
        family="llama", vocab_size=tokenizer.vocab_size, context_length=64, hidden_size=256, intermediate_size=512,
        num_layers=12, num_heads=4, num_kv_heads=4, head_dim=64,
    )  # fmt: skip
    weights = ModuleWeights(create(config).decoder)

    def tensors():
        for name, block_format in block_formats(weights, "q8_0").items():
            rows, columns = (*weights.shapes[name], 0)[:2]
            blocks = QuantizedBlocks("Q8_0", columns, np.zeros((rows, columns // 32 * 34), np.uint8))
            yield name, weights.tensor(name) if block_format is None else blocks

    content, path = json.loads(tokenizer.backend.to_str()), tmp_path / "model.gguf"
    tracemalloc.start()  # counts the memory of numpy
    try:
        write_gguf(path, weights, "q8_0", tensors(), GgufTokenizer(content, {}, (), (), {1}, None), {})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert path.stat().st_size > 8_000_000
    assert peak < 4_000_000  # a megabyte of the header is read in between


def test_models_that_llama_cpp_would_compute_differently_are_refused(folders, tmp_path):
    folder = tmp_path / "windowed"
    tokenizer = Tokenizer.load(folders("llama"))
    settings = {"vocab_size": tokenizer.vocab_size, "context_length": 128, "num_kv_heads": 2}
    config = DecoderConfig(
        family="mistral", **settings, **SIZES, tied=False, sliding_window=8, windowed_layers=frozenset({0, 1})
    )
    export_model(folder, create(config), tokenizer)
    with pytest.raises(UserError, match="without sliding windows"):
        export_gguf(str(folder), tmp_path / "m.gguf", "f16")
    other = tmp_path / "other"
    export_model(other, load(folders("llama")), tokenizer)
    content = json.loads((other / "tokenizer.json").read_text())
    content["pre_tokenizer"]["pretokenizers"].insert(0, {"type": "WhitespaceSplit"})
    (other / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="no rule that splits texts as this tokenizer does"):
        export_gguf(str(other), tmp_path / "m.gguf", "f16")


LLAMA_CPP = """
import json, sys, llama_cpp
model = llama_cpp.Llama(sys.argv[1], n_ctx=256, n_threads=1, verbose=False)
messages = [{"role": "user", "content": sys.argv[2]}]
answer = model.create_chat_completion(messages, temperature=0, max_tokens=40)
print(json.dumps(answer["choices"][0]["message"]["content"]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("gguf_type", ["f16", "q8_0", "q4_0"])
def test_llama_cpp_gives_the_same_answers(llama_cpp_python, tmp_path, gguf_type):
    path = tmp_path / "tiny.gguf"
    export_gguf("tiny", path, gguf_type)
    question = "How do I cancel my order?"
    command = [llama_cpp_python, "-c", LLAMA_CPP, str(path), question]
    theirs = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    request = ChatRequest((Message("user", question),), {"temperature": 0, "max_tokens": 40})
    with open_chat_service(str(path)) as service:
        reply = asyncio.run(service.reply(request))
    assert reply.choices[0].text == theirs


@pytest.mark.parametrize(("dtype", "expected"), [("auto", "float32"), ("bfloat16", "bfloat16")])
def test_a_file_is_converted_to_a_folder_with_its_weights(folders, tmp_path, monkeypatch, dtype, expected):
    monkeypatch.setattr("turnwise.app.model_export.MAX_SHARD_BYTES", 40_000)
    path, converted = tmp_path / "model.gguf", tmp_path / "converted"
    export_gguf(str(folders("llama")), path, "q4_1")
    assert convert_model(str(path), converted, dtype) == expected
    assert len(list(converted.glob("model-*.safetensors"))) > 1
    stored, written = (Checkpoint(find_model_folder(str(p)), dtype=torch.float32) for p in (path, converted))
    for name in stored.shapes:
        weights = stored.tensor(name) if dtype == "auto" else stored.tensor(name).bfloat16()
        assert torch.equal(written.tensor(name), weights)
    original, read = (Tokenizer.load(p) for p in (folders("llama"), converted))
    assert (read.chat_template, read.stop_ids) == (original.chat_template, original.stop_ids)
    assert [read.encode(text) for text in TEXTS] == [original.encode(text) for text in TEXTS]


def test_the_commands_write_files_and_refuse_what_exists(folders, tmp_path):
    from typer.testing import CliRunner

    from turnwise.cli.main import app

    runner, folder, path = CliRunner(), str(folders("llama")), tmp_path / "model.gguf"
    for arguments in (
        ["export", folder, "--gguf", "q8_0", "--out", str(path)],
        ["quantize", folder, "--type", "q4_0", "--no-calibration", "--out", str(path), "--overwrite"],
        ["convert", str(path), "--out", str(tmp_path / "folder")],
    ):
        result = runner.invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        assert "Chat with it: turnwise chat" in result.output
    for arguments, message in (
        (["export", folder, "--out", str(path)], "exists already"),
        (["export", folder, "--out", str(tmp_path / "model.bin")], "ends with .gguf"),
        (["convert", str(path), "--out", str(tmp_path / "folder")], "exists already"),
        (
            ["quantize", folder, "--calibrate", str(path), "--no-calibration", "--out", str(path)],
            "cannot be used together",
        ),
    ):
        with pytest.raises(TurnwiseError, match=message):
            runner.invoke(app, arguments, catch_exceptions=False, standalone_mode=False)
