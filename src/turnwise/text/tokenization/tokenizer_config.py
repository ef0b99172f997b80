"""Reads and writes the JSON files beside `tokenizer.json` in a Hugging Face folder. Input is untrusted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from turnwise.core.errors import UserError
from turnwise.core.json_file import JsonFileModel, read_bytes, read_optional_json_object, validate_fields
from turnwise.text.chat_templates.chat_template import check_template

# Named special tokens, which are variables of chat templates, as in `{{ bos_token }}`.
SPECIAL_TOKEN_NAMES = ("bos_token", "eos_token", "pad_token", "unk_token", "mask_token")
GENERIC_CLASS = "PreTrainedTokenizerFast"  # every version of transformers loads `tokenizer.json` with it
NOT_SAVED = ("chat_template", "auto_map", "backend", "is_local", "local_files_only")
MAX_TEMPLATE_BYTES = 4 * 2**20

_TOKEN_TEXT = Field(None, description="a text, an object with a text as its 'content', or null")


class _AddedToken(JsonFileModel):
    content: str = Field(description="a text")


class _TokenizerFields(JsonFileModel):
    """Fields of `tokenizer_config.json` and `special_tokens_map.json`."""

    bos_token: str | _AddedToken | None = _TOKEN_TEXT
    eos_token: str | _AddedToken | None = _TOKEN_TEXT
    pad_token: str | _AddedToken | None = _TOKEN_TEXT
    unk_token: str | _AddedToken | None = _TOKEN_TEXT
    mask_token: str | _AddedToken | None = _TOKEN_TEXT
    tokenizer_class: str | None = Field(None, description="the name of a class, or null")
    add_prefix_space: bool | None = Field(None, description="true, false or null")


class _NamedTemplate(JsonFileModel):
    name: str = Field(description="a text")
    template: str = Field(description="a text")


class _TemplateFields(JsonFileModel):
    """Fields of `tokenizer_config.json` and `chat_template.json`."""

    chat_template: str | list[_NamedTemplate] | None = Field(
        None, description="a text, a list of objects with 'name' and 'template', or null"
    )


class _StopFields(JsonFileModel):
    """Fields of `generation_config.json` and `config.json`."""

    eos_token_id: Annotated[int, Field(ge=-1, le=2**31)] | list[Annotated[int, Field(ge=-1, le=2**31)]] | None = Field(
        None, description="a token id, a list of them, or null"
    )


def read_fields(path: Path, *models: type[JsonFileModel]) -> dict[str, Any]:
    """The object in a JSON file, with the fields of `models` validated; empty if the file does not exist.

    Raises:
        UserError: the file is not readable JSON, or a field is invalid.
    """
    values = read_optional_json_object(path)
    for model in models:
        validate_fields(model, values, str(path))
    return values


def read_tokenizer_config(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """`tokenizer_config.json`, and the named special tokens as text. Raises as `read_fields` does."""
    config = read_fields(folder / "tokenizer_config.json", _TokenizerFields, _TemplateFields)
    special_tokens_map = read_fields(folder / "special_tokens_map.json", _TokenizerFields)
    tokens = special_tokens_map | {name: token for name, token in config.items() if token}
    return config, {name: _token_text(tokens[name]) for name in SPECIAL_TOKEN_NAMES if tokens.get(name)}


def _token_text(token: str | dict[str, Any]) -> str:
    """The text of a token, which is a string or an object with `content`."""
    return token if isinstance(token, str) else str(token["content"])


def read_chat_template(folder: Path, config: dict[str, Any]) -> str | None:
    """The chat template of a folder; None if it has none.

    Args:
        folder: the model folder.
        config: its `tokenizer_config.json`.

    Raises:
        UserError: the file is not UTF-8, or the template cannot be compiled.
    """
    path = folder / "chat_template.jinja"
    if path.is_file():
        try:
            template: Any = read_bytes(path, max_bytes=MAX_TEMPLATE_BYTES).decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not readable UTF-8 text: {error}.") from error
    else:
        template = config.get("chat_template")
        if not template:
            template = read_fields(folder / "chat_template.json", _TemplateFields).get("chat_template")
        if isinstance(template, list):  # several named templates
            template = next((entry["template"] for entry in template if entry["name"] == "default"), None)
    if template is None:
        return None
    check_template(template)
    return str(template)


def read_stop_ids(folder: Path) -> frozenset[int]:
    """Ids that end a response, from the model's configuration. Raises as `read_fields` does."""
    eos = read_fields(folder / "generation_config.json", _StopFields).get("eos_token_id")
    if eos is None:
        eos = read_fields(folder / "config.json", _StopFields).get("eos_token_id")
    if eos is None:
        return frozenset()
    return frozenset(id for id in ([eos] if isinstance(eos, int) else eos) if id >= 0)


def config_to_save(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config without fields that only transformers 5 supports or that are saved in other files."""
    saved: dict[str, Any] = {"tokenizer_class": GENERIC_CLASS, "clean_up_tokenization_spaces": False}
    saved |= {key: value for key, value in config.items() if key not in NOT_SAVED}
    if saved["tokenizer_class"] == "TokenizersBackend":
        saved["tokenizer_class"] = GENERIC_CLASS
    if isinstance(saved.get("extra_special_tokens"), list):  # transformers 4 requires names for them
        saved["additional_special_tokens"] = saved.pop("extra_special_tokens")
    return saved
