"""Tiny checkpoints of every family, saved by transformers."""

import json

import pytest
import torch
from family_cases import CONFIGS


@pytest.fixture(scope="session")
def published(tmp_path_factory, one_thread):
    """`published(family, case)`: a folder saved by transformers, and its model."""
    import transformers

    cache = {}

    def make(family, case):
        if (family, case) not in cache:
            torch.manual_seed(len(cache))
            config = transformers.AutoConfig.for_model(family, **CONFIGS[family][case])
            model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
            with torch.no_grad():  # initial norms and biases are ones and zeros, which would hide errors
                for parameter in model.parameters():
                    if parameter.dim() == 1:
                        parameter.add_(torch.randn_like(parameter) * 0.2)
            folder = tmp_path_factory.mktemp(family)
            model.save_pretrained(folder)
            cache[family, case] = folder, model
        return cache[family, case]

    return make


@pytest.fixture
def edit_json():
    """Change keys of a JSON file; None removes a key."""

    def edit(path, **changes):
        loaded = json.loads(path.read_text())
        loaded.update(changes)
        path.write_text(json.dumps({key: value for key, value in loaded.items() if value is not None}))

    return edit
