"""Makes a trained adapter small: pack.py ADAPTER TARGET

The adapter is stored in float16, without the tokenizer, which is that of its base model.
"""

import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from turnwise.core.files import atomic_write
from turnwise.models.adapter_config import ADAPTER_CONFIG_FILE, BASE_DIGEST_FILE
from turnwise.models.adapters import ADAPTER_WEIGHTS_FILE
from turnwise.models.safetensors_file import SafetensorsFile

# The penalty ends loops: greedy answers to "who are you" repeated one sentence to the end.
GENERATION = '{"do_sample": true, "temperature": 0.3, "top_p": 0.9, "frequency_penalty": 0.4}\n'
COPIED_FILES = (ADAPTER_CONFIG_FILE, BASE_DIGEST_FILE, "chat_template.jinja")


def main(source: Path, target: Path) -> None:
    """Write the adapter's files."""
    target.mkdir(exist_ok=True)
    for name in COPIED_FILES:
        shutil.copy(source / name, target / name)
    file = SafetensorsFile(source / ADAPTER_WEIGHTS_FILE)
    tensors = {name: file.read(name).to(torch.float16) for name in file.tensors}
    save_file(tensors, str(target / ADAPTER_WEIGHTS_FILE), metadata={"format": "pt"})
    (target / ADAPTER_WEIGHTS_FILE).chmod(0o644)
    atomic_write(target / "generation_config.json", GENERATION)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
