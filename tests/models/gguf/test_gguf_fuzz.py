"""Damaged and hostile GGUF files are refused in one sentence, soon, and without large allocations."""

import json
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import gguf
import pytest
from gguf.constants import GGMLQuantizationType, GGUFValueType
from gguf_files import ARRAY, STRING, parse_gguf, raw_gguf, text, write_gguf
from test_gguf_tokenizer import SCORES, byte_level, sentencepiece

from turnwise.core.errors import UserError
from turnwise.models.model_folders import find_model_folder

TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"


@pytest.fixture(scope="module")
def files(tmp_path_factory, model_folder, published):
    """A Llama in Q8_0 with byte-level BPE, and a Qwen with the tokenizer of SentencePiece."""
    folder = tmp_path_factory.mktemp("fuzz")

    def q8_0(name, array):
        return gguf.quants.quantize(array, GGMLQuantizationType.Q8_0), GGMLQuantizationType.Q8_0

    vocabulary = byte_level("Ġhello", "world", special=["<|im_start|>", "<|im_end|>"], user_defined=["<think>"])
    template = {"tokenizer.chat_template": (TEMPLATE, GGUFValueType.STRING)}
    llama = write_gguf(
        folder / "llama.gguf", model_folder, quantize=q8_0, vocabulary=vocabulary, metadata=template
    )  # fmt: skip
    qwen = write_gguf(
        folder / "qwen2.gguf", published("qwen2", "vocabulary of bytes")[0], vocabulary=sentencepiece(SCORES)
    )  # fmt: skip
    return llama, qwen


def fuzz(files, seed, count):
    program = Path(__file__).with_name("gguf_fuzz.py")
    process = subprocess.run(
        [sys.executable, program, str(seed), str(count), *files], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr[-3000:]
    result = json.loads(process.stdout)
    assert not result["failures"], "\n\n".join(result["failures"][:5])
    assert result["opened"] + result["refused"] == count
    assert result["refused"] > count / 3
    print(result)


def test_three_hundred_damaged_files_are_opened_or_refused(files):
    fuzz(files, seed=0, count=300)


@pytest.mark.parametrize("key", ["tokenizer.ggml.tokens", "tokenizer.ggml.merges", "tokenizer.ggml.token_type",
                                 "tokenizer.ggml.scores", "llama.block_count"])  # fmt: skip
@pytest.mark.costly
def test_a_list_that_is_too_long_for_the_model_is_not_decoded(files, tmp_path, key):
    """As Python objects, short strings and numbers take several times the bytes that they take in the file."""
    entries, tensors, data = parse_gguf(files[0].read_bytes())
    strings = struct.pack("<IQ", STRING, 400_000) + text("ab") * 400_000
    numbers = struct.pack("<IQ", 0, 4_000_000) + bytes(4_000_000)
    value = strings if key.endswith(("tokens", "merges")) else numbers
    entries = [entry for entry in entries if entry[0] != key.encode()] + [(key, ARRAY, value)]
    path = tmp_path / "m.gguf"
    path.write_bytes(raw_gguf(entries, tensors, data=data))
    find_model_folder(str(files[0]))  # imports
    tracemalloc.start()
    with pytest.raises(UserError):
        find_model_folder(str(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * path.stat().st_size + 2**20


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(1000, 11_000, 1000))
def test_a_thousand_damaged_files_are_opened_or_refused(files, seed):
    fuzz(files, seed, count=1000)
