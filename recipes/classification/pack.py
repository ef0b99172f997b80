"""Makes a trained classifier with an adapter small, for the package: pack.py RUN TARGET

RUN is the result of a recipe with the method `lora`, TARGET the folder in the package. Adapter and head are stored in
float16, without the tokenizer, which is that of the base model. An existing README.md in TARGET stays.
"""

import sys
from pathlib import Path

import torch

from turnwise.app.model_store.catalogue_entry import load_catalogue
from turnwise.core.errors import UserError
from turnwise.core.files import atomic_directory
from turnwise.models.adapter_config import ADAPTER_CONFIG_FILE, BASE_DIGEST_FILE, is_adapter, read_adapter_config
from turnwise.models.adapters import ADAPTER_WEIGHTS_FILE
from turnwise.models.classifier_config import CLASSIFIER_CONFIG_FILE, CLASSIFIER_WEIGHTS_FILE, read_classifier_config
from turnwise.models.safetensors_file import SafetensorsFile
from turnwise.models.safetensors_writer import save_safetensors

COPIED_FILES = (ADAPTER_CONFIG_FILE, BASE_DIGEST_FILE, CLASSIFIER_CONFIG_FILE)
WEIGHT_FILES = (ADAPTER_WEIGHTS_FILE, CLASSIFIER_WEIGHTS_FILE)
CARD_FILE = "README.md"


def main(source: Path, target: Path) -> None:
    """Write the package folder.

    Raises:
        UserError: RUN holds no adapter with a classification head, or its base is no model of the catalogue.
    """
    if not is_adapter(source):
        raise UserError(f"{source} holds no adapter: train with the method 'lora'.")
    read_classifier_config(source)
    base = read_adapter_config(source).get("base_model_name_or_path")
    if base not in load_catalogue():
        raise UserError(f"{source} is an adapter of {base}: train it on a model of `turnwise models list` by its name.")
    files = {name: (source / name).read_bytes() for name in COPIED_FILES}
    if (target / CARD_FILE).is_file():
        files[CARD_FILE] = (target / CARD_FILE).read_bytes()
    with atomic_directory(target) as folder:
        for name, content in files.items():
            (folder / name).write_bytes(content)
        for name in WEIGHT_FILES:
            weights = SafetensorsFile(source / name)
            tensors = {key: weights.read(key).to(torch.float16).contiguous() for key in weights.tensors}
            save_safetensors(tensors, folder / name)
    print(f"{target}: {sum(path.stat().st_size for path in target.iterdir()) / 1e6:.2f} MB")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
