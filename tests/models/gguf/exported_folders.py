"""Model folders of every family with a tokenizer of their own, small enough to export in a test."""

from turnwise.models.checkpoint import create
from turnwise.models.decoder_config import DecoderConfig, RopeConfig
from turnwise.text.tokenization.bpe_training import train_bpe
from turnwise.training.export import export_model

SIZES = {"hidden_size": 64, "intermediate_size": 96, "num_layers": 2, "num_heads": 4, "head_dim": 16}
FAMILIES = {
    "llama": {"num_kv_heads": 2},
    "llama with scaling": {"family": "llama", "num_kv_heads": 2, "rope": RopeConfig(5e5, "llama3", 8.0, 1.0, 4.0)},
    "untied llama": {"family": "llama", "num_kv_heads": 2, "tied": False},
    "qwen2": {"num_kv_heads": 2, "qkv_bias": True},
    "qwen3": {"num_kv_heads": 2, "qk_norm": True},
    "smollm3": {"num_kv_heads": 2, "no_rope_layers": frozenset()},
    "gpt2": {
        "num_kv_heads": 4, "norm": "layer", "positions": "learned", "activation": "gelu_tanh", "gated_mlp": False,
        "qkv_bias": True, "out_bias": True, "mlp_bias": True,
    },
}  # fmt: skip


def folder_maker(root):
    """`make(name)`: the folder of a family, written once under `root`."""
    tokenizer = train_bpe(["How do I cancel my order? It is late, isn't it? 12 34"] * 3, vocab_size=300)

    def make(name):
        folder = root / name.replace(" ", "-")
        if not folder.exists():
            settings = {"family": name, "vocab_size": tokenizer.vocab_size, "context_length": 128, "tied": True}
            config = DecoderConfig(**settings | SIZES | FAMILIES[name], initializer_range=0.2)
            export_model(folder, create(config, seed=1), tokenizer)
        return folder

    return make
