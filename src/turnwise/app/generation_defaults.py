"""Default generation parameters of a model, from its `generation_config.json`; an adapter may have its base's."""

from pathlib import Path
from typing import Any

from turnwise.core.errors import InvalidParameter, UserError
from turnwise.core.json_file import read_optional_json_object
from turnwise.core.parameters import PARAMETER_SPECS, GenerationParams
from turnwise.models.generation_config import generation_config_file


def load_generation_defaults(folder: Path) -> dict[str, Any]:
    """Return the parameters of `generation_config.json` that are generation parameters of ours.

    Raises:
        UserError: the file is damaged, or a value is out of range.
    """
    path = generation_config_file(folder)
    config = read_optional_json_object(path)
    defaults = {name: value for name, value in config.items() if name in PARAMETER_SPECS and value is not None}
    if config.get("do_sample") is False:
        defaults["temperature"] = 0.0
    defaults.pop("seed", None)  # with a fixed seed, all users would get the same samples
    try:
        GenerationParams.resolve({}, defaults)
    except InvalidParameter as error:
        raise UserError(f"{path}: {error}") from error
    return defaults


def load_suppressed_tokens(folder: Path) -> frozenset[int]:
    """Return the token ids of `suppress_tokens` in `generation_config.json`, which the model never generates.

    Raises:
        UserError: the file is damaged, or the value is not a list of token ids.
    """
    path = generation_config_file(folder)
    token_ids = read_optional_json_object(path).get("suppress_tokens") or []
    if not isinstance(token_ids, list) or not all(type(token) is int and token >= 0 for token in token_ids):
        raise UserError(f"{path}: 'suppress_tokens' should be a list of token ids.")
    return frozenset(token_ids)
