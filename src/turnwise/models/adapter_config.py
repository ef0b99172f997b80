"""The config of a LoRA adapter folder: which settings are supported, and which base model it belongs to.

Does not import torch.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from turnwise.core.errors import ModelNotFound, UserError
from turnwise.core.json_file import JsonFileModel, preview, read_json_object, read_optional_json_object, validate_fields
from turnwise.models.bundled_models import bundled_model_folder
from turnwise.models.model_folders import find_model_folder, weights_digest

ADAPTER_CONFIG_FILE = "adapter_config.json"  # of PEFT
BASE_DIGEST_FILE = "adapter_base.json"  # ours: hash of the base model's weights
BUNDLED_MODEL_NAME = "turnwise/box"  # `base_model_name_or_path` of adapters for the bundled model, on any machine
# Settings of PEFT that are supported with this value only.
SUPPORTED_VALUES: Mapping[str, Any] = {
    "bias": "none", "rank_pattern": {}, "alpha_pattern": {}, "modules_to_save": None, "layer_replication": None,
    "lora_bias": False, "megatron_config": None, "use_qalora": False, "trainable_token_indices": None,
    "target_parameters": None,
}  # fmt: skip
BASE_CHANGING_INITS = ("pissa", "olora", "corda", "loftq")


class AdapterFields(JsonFileModel):
    """Fields of `adapter_config.json` that Turnwise uses."""

    peft_type: str = Field(description="a text")
    base_model_name_or_path: str | None = Field(None, description="the folder of the base model")
    r: Annotated[int, Field(ge=1, le=2**16)] = Field(description="a whole number from 1 to 65,536")
    lora_alpha: Annotated[float, Field(ge=-1e6, le=1e6)] = Field(description="a number from -1e6 to 1e6")
    init_lora_weights: bool | str | None = Field(None, description="true, false or a text")
    use_rslora: bool | None = Field(None, description="true, false or null")
    fan_in_fan_out: bool | None = Field(None, description="true, false or null")


def is_adapter(folder: Path) -> bool:
    """True if a folder holds an adapter and not a full model."""
    return (folder / ADAPTER_CONFIG_FILE).is_file() and not (folder / "config.json").is_file()


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """The config of a LoRA or DoRA adapter, with the fields that Turnwise uses checked for type and range.

    Raises:
        UserError: the file is not readable JSON, or a field is invalid or not supported.
    """
    path = folder / ADAPTER_CONFIG_FILE
    config = read_json_object(path)
    if (peft_type := config.get("peft_type")) != "LORA":
        raise UserError(f"{folder} is an adapter of type {preview(peft_type)}; LoRA and DoRA are supported.")
    validate_fields(AdapterFields, config, str(path))
    for key, supported in SUPPORTED_VALUES.items():
        if config.get(key) not in (supported, None, {}, []):
            raise UserError(f"{path}: '{key}': {preview(config[key])} is not supported.")
    if str(config.get("init_lora_weights", True)).lower().startswith(BASE_CHANGING_INITS):
        raise UserError(
            f"{folder}: its training also changed the base model ('init_lora_weights'), "
            "so it does not match the original one."
        )
    return config


def adapter_base_folder(folder: Path) -> Path:
    """The folder of an adapter's base model: the stored model of its name, else the one at its path.

    Raises:
        UserError: the adapter names no base model, or the base model has changed since.
        ModelNotFound: the base model does not exist.
    """
    path = folder / ADAPTER_CONFIG_FILE
    name = read_adapter_config(folder).get("base_model_name_or_path")
    if not name:
        raise UserError(f"{path} does not name the base model: base_model_name_or_path is missing.")
    try:
        base = bundled_model_folder() if name == BUNDLED_MODEL_NAME else find_model_folder(name, prefer_store=True)
    except ModelNotFound as error:
        raise ModelNotFound(
            f"{folder} is an adapter of the model {name}, which does not exist. "
            f"If it was moved, write its new folder into {path} as base_model_name_or_path."
        ) from error
    digest = read_optional_json_object(folder / BASE_DIGEST_FILE).get("digest")
    if digest is not None and digest != weights_digest(base):
        raise UserError(f"{folder} was trained for other weights than those in {base}: its base has changed since.")
    return base
