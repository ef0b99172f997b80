"""Tiny models and tokenizers, made on the spot: no test needs the network or a file from elsewhere.

Some slow tests compare with other programs or use published models. They are skipped unless these variables are set:

- `LLAMA_CPP_PYTHON`: a Python interpreter that has the package `llama_cpp` (default: this one, if it has it).
- `TURNWISE_TEST_GGUF`: published GGUF files, separated as in PATH.
- `TURNWISE_TEST_MINILM`: the folder of all-MiniLM-L6-v2.
"""

import importlib.util
import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["quick_selection", "cpu_seconds"]

# No deadline: examples take long on a busy machine.
settings.register_profile("turnwise", deadline=None)
settings.load_profile("turnwise")

CORPUS = [
    "Hello, how can I help you today? The lamp in the kitchen is broken again, and I'd like to order a new one.",
    "你好,请问我能帮你什么忙?我的包裹还没有到。今天天气很好,我们去公园散步吧。",
    "Wie geht es dir? Ça va très bien, merci ! Где находится библиотека? ありがとうございます。",
    "Order 1234567 costs 19.99 €, and it's on its way 🚚. 👍🏽 👨‍👩‍👧‍👦 def f(x):\n    return x + 1\n\n",
] * 4


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory):
    """What a person keeps is not touched by tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TURNWISE_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session")
def corpus():
    return CORPUS


@pytest.fixture(scope="session")
def tokenizer():
    """Byte-level BPE with Turnwise's own template and special tokens."""
    from turnwise.text.tokenization.bpe_training import train_bpe

    return train_bpe(CORPUS, vocab_size=512)


@pytest.fixture(scope="session")
def one_thread():
    """Tiny matrices are slower on many threads, and other work shares these cores."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_config(tokenizer):
    """A two-layer Llama for `tokenizer`."""
    from turnwise.models.decoder_config import DecoderConfig

    return DecoderConfig(
        family="llama",
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        intermediate_size=64,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        head_dim=8,
        context_length=128,
    )


@pytest.fixture
def tiny_model(tiny_config, one_thread):
    """A fresh random model; the same weights every time."""
    from turnwise.models.checkpoint import create

    return create(tiny_config, seed=0)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory, tiny_config, tokenizer, one_thread):
    """A whole model folder, to be read and not to be written to."""
    from turnwise.models.checkpoint import create, save

    folder = tmp_path_factory.mktemp("models") / "tiny"
    save(create(tiny_config, seed=0), folder, hf_config={"eos_token_id": tokenizer.eos_token_id})
    tokenizer.save(folder)
    return folder


@pytest.fixture(scope="session")
def llama_cpp_python():
    """An interpreter with llama_cpp."""
    default = sys.executable if importlib.util.find_spec("llama_cpp") else None
    python = os.environ.get("LLAMA_CPP_PYTHON", default)
    if python is None:
        pytest.skip("llama_cpp is not installed; LLAMA_CPP_PYTHON can name an interpreter that has it")
    return python


@pytest.fixture(scope="session")
def published_gguf_files():
    """Published GGUF files."""
    files = [Path(name) for name in os.environ.get("TURNWISE_TEST_GGUF", "").split(os.pathsep) if name]
    if not files:
        pytest.skip("TURNWISE_TEST_GGUF names no published GGUF files")
    return files


@pytest.fixture(scope="session")
def minilm_folder():
    """The published all-MiniLM-L6-v2."""
    folder = os.environ.get("TURNWISE_TEST_MINILM")
    if folder is None:
        pytest.skip("TURNWISE_TEST_MINILM does not name the folder of all-MiniLM-L6-v2")
    return Path(folder)


@pytest.fixture(scope="session")
def make_bert_folder(tmp_path_factory, one_thread):
    """Writes the folder of a tiny random embedding model: make_bert_folder(prompts=…, modules=…, config=…)."""
    import json

    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    words = "[PAD] [UNK] [CLS] [SEP] the a lamp is broken how do i reset my password query passage : ? . , hello world"
    vocab = {token: id for id, token in enumerate(words.split())}
    size, inner, num_positions = 32, 48, 40

    def make(config=None, **files):
        folder = tmp_path_factory.mktemp("bert") / "tiny-bert"
        folder.mkdir()
        tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        tokenizer.save(str(folder / "tokenizer.json"))
        hf_config = {
            "model_type": "bert", "architectures": ["BertModel"], "vocab_size": len(vocab), "hidden_size": size,
            "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": inner, "type_vocab_size": 2,
            "max_position_embeddings": num_positions, "hidden_act": "gelu", "layer_norm_eps": 1e-12,
        }  # fmt: skip
        (folder / "config.json").write_text(json.dumps(hf_config | (config or {})))
        for name, content in files.items():
            path = folder / {"pooling": "1_Pooling/config.json"}.get(name, f"{name}.json")
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(content))
        generator = torch.Generator().manual_seed(0)
        shapes = {
            "embeddings.word_embeddings.weight": (len(vocab), size),
            "embeddings.position_embeddings.weight": (num_positions, size),
            "embeddings.token_type_embeddings.weight": (2, size),
            "embeddings.LayerNorm.weight": (size,), "embeddings.LayerNorm.bias": (size,),
        }  # fmt: skip
        for layer in range(2):
            modules = {
                **{f"attention.self.{name}": (size, size) for name in ("query", "key", "value")},
                "attention.output.dense": (size, size), "attention.output.LayerNorm": (size,),
                "intermediate.dense": (inner, size), "output.dense": (size, inner), "output.LayerNorm": (size,),
            }  # fmt: skip
            for module, shape in modules.items():
                shapes[f"encoder.layer.{layer}.{module}.weight"] = shape
                shapes[f"encoder.layer.{layer}.{module}.bias"] = shape[:1]
        tensors = {name: torch.randn(shape, generator=generator) * 0.5 for name, shape in shapes.items()}
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return make
