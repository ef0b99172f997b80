"""Settings of an embedding model in the files of sentence-transformers: pooling, maximum length, prefixes.

`modules.json` lists the modules. `1_Pooling/config.json` has the pooling, `sentence_bert_config.json` the maximum
length, `config_sentence_transformers.json` the prefixes ("prompts"). A folder without them gets mean pooling, the
length of its position embedding, and no prefixes, as in sentence-transformers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from turnwise.core.errors import UserError
from turnwise.core.json_file import JsonFileModel, preview, read_json, read_optional_json_object, validate_fields

MODULES = ("Transformer", "Pooling", "Normalize")
# Vectors are scaled to length 1, after which the mean and the sum divided by the root of the length are equal.
POOLING_MODES: dict[str, Literal["mean", "cls"]] = {
    "cls": "cls", "cls_token": "cls", "mean": "mean", "mean_tokens": "mean",
    "mean_sqrt_len_tokens": "mean",
}  # fmt: skip
MODE_PREFIX = "pooling_mode_"
MAX_PREFIX_CHARS = 1000
PASSAGE_PROMPTS = ("passage", "document")


class _LengthFields(JsonFileModel):
    max_seq_length: Annotated[int, Field(ge=1, le=2**30)] | None = Field(None, description="a whole number from 1 on")
    do_lower_case: bool = Field(False, description="true or false")


class _PromptFields(JsonFileModel):
    prompts: dict[str, Annotated[str, Field(max_length=MAX_PREFIX_CHARS)]] | None = Field(
        None, description=f"an object of texts of at most {MAX_PREFIX_CHARS} characters"
    )
    default_prompt_name: str | None = Field(None, description="a text, or null")


@dataclass(frozen=True, slots=True)
class SentenceEncoderConfig:
    """How texts are embedded.

    Attributes:
        pooling: mean of the hidden states, or the one of the first token.
        max_length: maximum number of tokens of an input, start and end tokens included; None: as the encoder.
        is_lower_cased: texts are converted to lower case.
        prefixes: text before the inputs of each type, "query" or "passage".
        default_type: type of inputs without a type; None adds no prefix.
    """

    pooling: Literal["mean", "cls"] = "mean"
    max_length: int | None = None
    is_lower_cased: bool = False
    prefixes: Mapping[str, str] = field(default_factory=dict)
    default_type: str | None = None


def read_sentence_encoder_config(folder: Path) -> SentenceEncoderConfig:
    """Read the settings of a model folder.

    Raises:
        UserError: a file is damaged, or a module or pooling is not supported.
    """
    lengths_path = folder / "sentence_bert_config.json"
    lengths = read_optional_json_object(lengths_path)
    validate_fields(_LengthFields, lengths, str(lengths_path))
    prompts_path = folder / "config_sentence_transformers.json"
    config = read_optional_json_object(prompts_path)
    validate_fields(_PromptFields, config, str(prompts_path))
    prefixes, default_type = _prefixes(config, prompts_path)
    return SentenceEncoderConfig(
        pooling=_read_pooling(folder),
        max_length=lengths.get("max_seq_length"),
        is_lower_cased=lengths.get("do_lower_case", False),
        prefixes=prefixes,
        default_type=default_type,
    )


def _read_pooling(folder: Path) -> Literal["mean", "cls"]:
    path = folder / "modules.json"
    if not path.is_file():
        return "mean"
    modules = read_json(path)
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise UserError(f"{path} is not a list of modules.")
    pooling: Literal["mean", "cls"] = "mean"
    for module in modules:
        name = str(module.get("type")).rpartition(".")[2]
        if name not in MODULES:
            raise UserError(f"{path}: the module {preview(name)} is not supported; supported: {', '.join(MODULES)}.")
        if name == "Pooling":
            subfolder = Path(str(module.get("path"))).name  # never outside the folder
            config_path = folder / subfolder / "config.json"
            pooling = _parse_pooling(read_optional_json_object(config_path), config_path)
    return pooling


def _parse_pooling(config: Mapping[str, Any], path: Path) -> Literal["mean", "cls"]:
    """The pooling of a config, which names one mode or has a switch for each."""
    modes = [name.removeprefix(MODE_PREFIX) for name, value in config.items() if name.startswith(MODE_PREFIX) and value]
    if isinstance(mode := config.get("pooling_mode"), str):
        modes = [mode]
    if config.get("include_prompt") is False:
        raise UserError(f"{path}: 'include_prompt': false is not supported.")
    unsupported = [mode for mode in modes if mode not in POOLING_MODES]
    if unsupported or len(modes) > 1:
        raise UserError(f"{path}: the pooling {preview(' + '.join(modes))} is not supported, only the mean or 'cls'.")
    return POOLING_MODES[modes[0]] if modes else "mean"


def _prefixes(config: Mapping[str, Any], path: Path) -> tuple[dict[str, str], str | None]:
    """The prefixes by type, and the default type.

    Where both queries and passages have a prefix, a text without one is unlike all that the model was trained on: the
    default is then the one of queries, as the card of E5 says.
    """
    prompts, default_name = config.get("prompts") or {}, config.get("default_prompt_name")
    prefixes = {"query": prompts["query"]} if "query" in prompts else {}
    if (passage := next((name for name in PASSAGE_PROMPTS if name in prompts), None)) is not None:
        prefixes["passage"] = prompts[passage]
    if default_name is not None:
        default_type = "passage" if default_name in PASSAGE_PROMPTS else default_name
        if default_type not in prefixes:
            raise UserError(f"{path}: the default prompt {preview(default_name)} is not one for queries or passages.")
        return prefixes, default_type
    return prefixes, "query" if prefixes.get("query") and prefixes.get("passage") else None
