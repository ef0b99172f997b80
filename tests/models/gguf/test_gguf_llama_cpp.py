"""Token ids of GGUF files equal those of llama.cpp. Needs an interpreter with llama_cpp (tests/conftest.py)."""

import json
import random
import subprocess
import unicodedata
from pathlib import Path

import pytest
import tokenizers
from gguf_files import write_gguf
from test_gguf_tokenizer import CONTROL, USER_DEFINED, sentencepiece
from tokenizers import models, pre_tokenizers, trainers

from turnwise.models import quantized_blocks
from turnwise.models.checkpoint import create, save
from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.gguf.pre_tokenizers import PRE_TOKENIZERS
from turnwise.models.model_folders import find_model_folder
from turnwise.text.tokenization.tokenizer import Tokenizer

pytestmark = pytest.mark.slow
# llama.cpp approximates the classes of upper and lower case in this expression beyond ASCII.
APPROXIMATED = {"tekken", "gpt-4o", "llama4", "kanana2"}
WORDS = [
    "don't", "I'LL", "we've", "It'S", "naïve", "Straße", "ﬁn", "½", "²³", "Ⅷ", "٣٤", "don’t", "<|x|>", "<think>",
    "x=[1,2];", "//--", "👨‍👩‍👧‍👦", "👍🏽", "\u3000", "\u00a0", "\u2028", "\r\n", "\x85", "\u200b", "Hello", " world",
    "FooBar", "HTTPServer", "snake_case", " ÉCOLE", "ΑΒΓ абв", "ＡＢＣ", "الله", "한국어", "ありがとう",
]  # fmt: skip


def random_lines(count, seed=0):
    """Lines of words, numbers, blanks, line breaks, emoji, Chinese, letters of other scripts, and punctuation."""
    rng = random.Random(seed)
    ranges = [
        (32, 126), (0xA1, 0x24F), (0x391, 0x3A1), (0x3A3, 0x3C9), (0x410, 0x44F), (0x5D0, 0x5EA), (0x905, 0x939),
        (0x3041, 0x3096), (0x30A1, 0x30FA), (0xAC00, 0xD7A3),
    ]  # fmt: skip
    kinds = [
        lambda: rng.choice(WORDS),
        lambda: str(rng.randrange(10 ** rng.randrange(1, 12))),
        lambda: " " * rng.randrange(1, 40),
        lambda: "\n" * rng.randrange(1, 5) + "\t" * rng.randrange(3),
        lambda: "".join(chr(rng.randrange(0x1F300, 0x1F600)) for _ in range(rng.randrange(1, 4))),
        lambda: "".join(chr(rng.randrange(0x4E00, 0x9FA5)) for _ in range(rng.randrange(1, 9))),
        lambda: "".join(chr(rng.randrange(*rng.choice(ranges))) for _ in range(rng.randrange(1, 12))),
        lambda: "".join(rng.choice("!?.,;:-_()[]{}<>/\\|@#$%^&*+=~`'\"") for _ in range(rng.randrange(1, 8))),
    ]
    return ["".join(rng.choice(kinds)() for _ in range(rng.randrange(1, 9))) for _ in range(count)]


@pytest.fixture(scope="module")
def lines(corpus):
    code = "".join(path.read_text() for path in sorted(Path(quantized_blocks.__file__).parent.glob("*.py")))
    pieces = [code[start : start + 300] for start in range(0, 60_000, 300)]  # long texts crash llama.cpp's expressions
    return [unicodedata.normalize("NFC", line) for line in [*corpus, *pieces, *random_lines(2000)]]


@pytest.fixture
def llama_cpp_ids(llama_cpp_python, tmp_path):
    """`llama_cpp_ids(lines, files)`: per file, ids of each line without and with special tokens."""

    def run(lines, files):
        (tmp_path / "lines.json").write_text(json.dumps(lines))
        program = Path(__file__).with_name("llama_cpp_ids.py")
        process = subprocess.run(
            [llama_cpp_python, program, tmp_path / "lines.json", *files], capture_output=True, text=True, check=False
        )
        assert process.returncode == 0, process.stderr[-2000:]
        return json.loads(process.stdout)

    return run


def assert_equal_ids(file, lines, expected):
    tokenizer = Tokenizer.load(find_model_folder(str(file)))
    for allow_special, ids_of_lines in zip((False, True), expected, strict=True):
        for line, ids in zip(lines, ids_of_lines, strict=True):
            assert tokenizer.encode(line, allow_special=allow_special) == ids, (line, allow_special)


def tiny_folder(folder, vocab_size):
    config = DecoderConfig(family="llama", vocab_size=vocab_size, hidden_size=32, intermediate_size=32, num_layers=1,
                           num_heads=2, num_kv_heads=1, head_dim=16, context_length=64)  # fmt: skip
    save(create(config), folder)
    return folder


def test_every_rule_splits_as_llama_cpp_does(tmp_path, lines, llama_cpp_ids):
    """The vocabulary is trained without splitting, so that its tokens cross every place where a rule splits."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=6000, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator([line.replace("<|x|>", "").replace("<think>", "") for line in lines], trainer)
    model = json.loads(backend.to_str())["model"]
    names = sorted(model["vocab"], key=model["vocab"].get)
    folder = tiny_folder(tmp_path / "folder", len(names) + 2)

    def vocabulary(pre):
        def add(writer):
            writer.add_tokenizer_model("gpt2")
            writer.add_tokenizer_pre(pre)
            writer.add_token_list([*names, "<|x|>", "<think>"])
            writer.add_token_types([1] * len(names) + [CONTROL, USER_DEFINED])
            writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
            for add_id in (writer.add_bos_token_id, writer.add_eos_token_id):
                add_id(len(names))

        return add

    files = {pre: write_gguf(tmp_path / f"{pre}.gguf", folder, vocabulary=vocabulary(pre)) for pre in PRE_TOKENIZERS}
    for (pre, file), expected in zip(files.items(), llama_cpp_ids(lines, files.values()), strict=True):
        is_compared = [pre not in APPROXIMATED or line.isascii() for line in lines]
        compared = [line for line, included in zip(lines, is_compared, strict=True) if included]
        expected = [[ids for ids, included in zip(part, is_compared, strict=True) if included] for part in expected]
        assert_equal_ids(file, compared, expected)


@pytest.mark.parametrize("has_prefix", [True, False])
def test_scores_merge_as_llama_cpp_merges(tmp_path, lines, llama_cpp_ids, has_prefix):
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=5000, limit_alphabet=500, show_progress=False)
    backend.train_from_iterator(lines, trainer)
    ids = backend.get_vocab()
    pieces = {piece: -float(rank) for rank, piece in enumerate(sorted(ids, key=ids.get))}
    folder = tiny_folder(tmp_path / "folder", len(pieces) + 259)

    def vocabulary(writer):
        sentencepiece(pieces)(writer)
        writer.add_add_space_prefix(has_prefix)

    file = write_gguf(tmp_path / "m.gguf", folder, vocabulary=vocabulary)
    assert_equal_ids(file, lines, llama_cpp_ids(lines, [file])[0])


def test_published_files_have_the_ids_of_llama_cpp(lines, llama_cpp_ids, published_gguf_files):
    for file, expected in zip(published_gguf_files, llama_cpp_ids(lines, published_gguf_files), strict=True):
        assert_equal_ids(file, lines, expected)
