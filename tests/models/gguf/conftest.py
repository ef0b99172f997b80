"""Tiny GGUF files of every architecture."""

import pytest
from exported_folders import folder_maker
from family_cases import CONFIGS, SMALL
from gguf_files import write_gguf

LLAMA3 = {"rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}  # fmt: skip
# Configs of a size that every block format can hold, beside those of all families.
LARGER = {"hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 2, "initializer_range": 0.02}
CONFIGS["llama"] |= {"llama3 scaling": {**SMALL, "head_dim": 32, "rope_parameters": LLAMA3}}
CONFIGS["llama"] |= {"large": {**SMALL, **LARGER}}
CONFIGS["qwen2"] |= {"vocabulary of bytes": {**SMALL, "vocab_size": 300}}


@pytest.fixture
def gguf_of(published, tmp_path):
    """`gguf_of(family, case, **options)`: a GGUF file, the folder it was made from, and its transformers model."""

    def make(family, case="untied", **options):
        folder, hf_model = published(family, case)
        return write_gguf(tmp_path / f"{family}.gguf", folder, **options), folder, hf_model

    return make


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """`folders(name)`: a model folder of a family with a tokenizer of its own."""
    return folder_maker(tmp_path_factory.mktemp("folders"))
