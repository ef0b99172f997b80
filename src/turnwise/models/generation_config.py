"""The `generation_config.json` of a model folder: default generation parameters and the ids of special tokens."""

from pathlib import Path
from typing import Any

from turnwise.core.json_file import read_json_object
from turnwise.models.model_kind import full_model_folder

GENERATION_CONFIG_FILE = "generation_config.json"


def generation_config_file(folder: Path) -> Path:
    """The path of the generation config: of the base model's for an adapter without one. The file may be missing.

    Raises:
        UserError: the folder holds an adapter whose base is damaged or has changed.
        ModelNotFound: the base model of an adapter does not exist.
    """
    path = folder / GENERATION_CONFIG_FILE
    return path if path.is_file() else full_model_folder(folder) / GENERATION_CONFIG_FILE


def read_generation_config(folder: Path) -> dict[str, Any] | None:
    """The content of `generation_config_file`; None if it is missing.

    Raises:
        UserError: the file is damaged, or the folder holds an adapter whose base is damaged or has changed.
        ModelNotFound: the base model of an adapter does not exist.
    """
    path = generation_config_file(folder)
    return read_json_object(path) if path.is_file() else None
