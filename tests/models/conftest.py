"""Tiny checkpoints of every family, written by transformers itself."""

import json

import pytest
import torch
from family_cases import CONFIGS


@pytest.fixture(scope="session")
def published(tmp_path_factory, one_thread):
    """`published(family, case)`: a folder as transformers writes it, and its model."""
    import transformers

    made = {}

    def make(family, case):
        if (family, case) not in made:
            torch.manual_seed(len(made))
            config = transformers.AutoConfig.for_model(family, **CONFIGS[family][case])
            model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
            with torch.no_grad():  # fresh norms and biases are ones and zeros, which would hide a mix-up
                for parameter in model.parameters():
                    if parameter.dim() == 1:
                        parameter.add_(torch.randn_like(parameter) * 0.2)
            folder = tmp_path_factory.mktemp(family)
            model.save_pretrained(folder)
            made[family, case] = folder, model
        return made[family, case]

    return make


@pytest.fixture
def edit_json():
    """Change keys of a JSON file; None takes a key out."""

    def edit(path, **changes):
        loaded = json.loads(path.read_text())
        loaded.update(changes)
        path.write_text(json.dumps({key: value for key, value in loaded.items() if value is not None}))

    return edit
