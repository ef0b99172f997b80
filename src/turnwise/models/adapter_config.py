"""What an adapter's folder says of itself: its kind, and the model that it changes. Read without torch."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from turnwise.core.errors import ModelNotFound, UserError
from turnwise.core.json_file import JsonFileModel, preview, read_json_object, read_optional_json_object, validate_fields
from turnwise.models.model_folders import find_model_folder, weights_digest

CONFIG, BASE = "adapter_config.json", "adapter_base.json"
BUNDLED_MODEL_NAME = (
    "turnwise/box"  # how an adapter names the model that comes with the package, wherever that is installed
)
# What we do not compute; a key that is there and not its default is refused.
PLAIN: Mapping[str, Any] = {
    "bias": "none", "rank_pattern": {}, "alpha_pattern": {}, "modules_to_save": None, "layer_replication": None,
    "lora_bias": False, "megatron_config": None, "use_qalora": False, "trainable_token_indices": None,
    "target_parameters": None,
}  # fmt: skip


class AdapterFields(JsonFileModel):
    """Read of `adapter_config.json`."""

    peft_type: str = Field(description="a text")
    base_model_name_or_path: str | None = Field(None, description="the folder of the base model")
    r: Annotated[int, Field(ge=1, le=2**16)] = Field(description="a whole number from 1 to 65,536")
    lora_alpha: Annotated[float, Field(ge=-1e6, le=1e6)] = Field(description="a number from -1e6 to 1e6")
    init_lora_weights: bool | str | None = Field(None, description="true, false or a text")
    use_rslora: bool | None = Field(None, description="true, false or null")
    fan_in_fan_out: bool | None = Field(None, description="true, false or null")


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter instead of a whole model."""
    return (folder / CONFIG).is_file() and not (folder / "config.json").is_file()


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """The config of a LoRA or DoRA adapter; the fields that we read have their declared types.

    Raises:
        UserError: it is no readable JSON, a field is not what it should be, or it asks for what we do not compute.
    """
    config = read_json_object(folder / CONFIG)
    if (kind := config.get("peft_type")) != "LORA":
        raise UserError(f"{folder} is an adapter of type {preview(kind)}; LoRA and DoRA are supported.")
    validate_fields(AdapterFields, config, str(folder / CONFIG))
    for key, plain in PLAIN.items():
        if config.get(key) not in (plain, None, {}, []):
            raise UserError(f"{folder / CONFIG}: '{key}': {preview(config[key])} is not supported.")
    if str(config.get("init_lora_weights", True)).lower().startswith(("pissa", "olora", "corda", "loftq")):
        raise UserError(
            f"{folder}: its training changed the base as well ('init_lora_weights'), so it does not fit the base."
        )
    return config


def adapter_base_folder(folder: Path) -> Path:
    """The folder of the model that an adapter changes.

    Raises:
        UserError: the adapter does not say, or its base has changed since.
        ModelNotFound: it is not there.
    """
    path = folder / CONFIG
    name = read_adapter_config(folder).get("base_model_name_or_path")
    if not name:
        raise UserError(f"{path} does not name the model that it changes: base_model_name_or_path is missing.")
    try:
        base = bundled_model_folder() if name == BUNDLED_MODEL_NAME else find_model_folder(name)
    except ModelNotFound as error:
        raise ModelNotFound(
            f"{folder} is an adapter of the model {name}, which is not there. "
            f"If it has moved, write its new folder into {path} as base_model_name_or_path."
        ) from error
    digest = read_optional_json_object(folder / BASE).get("digest")
    if digest is not None and digest != weights_digest(base):
        raise UserError(f"{folder} was made for other weights than those in {base}: its base has changed since.")
    return base


def bundled_model_folder() -> Path:
    """The model that comes with the package."""
    return Path(str(resources.files("turnwise").joinpath("box")))
