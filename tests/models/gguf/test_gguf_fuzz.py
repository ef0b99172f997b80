"""Damaged and hostile GGUF files are refused in one sentence, soon, and without large allocations."""

import json
import subprocess
import sys
from pathlib import Path

import gguf
import pytest
from gguf.constants import GGMLQuantizationType, GGUFValueType
from gguf_files import write_gguf
from test_gguf_tokenizer import SCORES, byte_level, sentencepiece

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


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(1000, 11_000, 1000))
def test_a_thousand_damaged_files_are_opened_or_refused(files, seed):
    fuzz(files, seed, count=1000)
