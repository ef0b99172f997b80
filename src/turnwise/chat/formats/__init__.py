"""Interaction formats. One file per format: a subclass of `chat.interaction_format.InteractionFormat`."""

from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from turnwise.chat.formats._template_file import TemplateFileFormat
from turnwise.chat.interaction_format import InteractionFormat
from turnwise.core.errors import InvalidParameter
from turnwise.core.files import path_exists
from turnwise.core.plugins import PluginGroup, find_subclass
from turnwise.core.strict_model import parse_strict_model
from turnwise.text.chat_templates.turn_format import TurnFormat
from turnwise.text.tokenization.tokenizer import Tokenizer

DEFAULT_FORMAT = "turn_taking"
PARAMETER = "format"
TEMPLATE_SUFFIXES, OPTION_SUFFIXES = (".jinja", ".jinja2", ".j2"), (".yaml", ".yml")


def _build(name: str, module: ModuleType) -> type[InteractionFormat]:
    cls = find_subclass(module, InteractionFormat)
    cls.NAME = name
    return cls


FORMATS: PluginGroup[type[InteractionFormat]] = PluginGroup(
    "interaction format", "interaction_formats", (__name__, __path__), build=_build, parameter=PARAMETER
)


def create_format(name: str, options: dict[str, Any] | None = None, *, origin: str = "The format") -> InteractionFormat:
    """A format by name, with options. Raises `InvalidParameter` for an unknown name or a bad option."""
    return parse_strict_model(FORMATS.load(name), options or {}, origin=origin)


def load_format(value: str) -> InteractionFormat:
    """A format from a flag or a recipe.

    Args:
        value: the name of a format; a Jinja file (`.jinja`), which is used as the chat template; or a YAML file with
            the key `format`, the name of a format, and its options.

    Raises:
        InvalidParameter: there is no such format or file, or an option is invalid.
        TemplateError: the Jinja file does not compile, or does not render a conversation.
    """
    path = Path(value).expanduser()
    if path.suffix in TEMPLATE_SUFFIXES:
        return TemplateFileFormat.from_file(_existing(path))
    if path.suffix not in OPTION_SUFFIXES:
        return create_format(value)
    try:
        options = yaml.safe_load(_existing(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidParameter(PARAMETER, f"{path} is not readable YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(options, dict) or not isinstance(options.get("format"), str):
        raise InvalidParameter(PARAMETER, f"{path} needs the key 'format', the name of an interaction format.")
    return create_format(options.pop("format"), options, origin=str(path))


def apply_format(tokenizer: Tokenizer, format: InteractionFormat) -> Tokenizer:
    """The tokenizer with the chat template of a format. Raises `TemplateError` if it lacks what the format needs."""
    return tokenizer.with_chat_template(format.chat_template(tokenizer))


def format_of_template(turn_format: TurnFormat) -> InteractionFormat:
    """The format that made a template; the default format for templates that no known format made."""
    if turn_format.name not in FORMATS.names():
        return create_format(DEFAULT_FORMAT)
    return create_format(turn_format.name, dict(turn_format.options), origin="The chat template")


def _existing(path: Path) -> Path:
    if not path_exists(path):
        raise InvalidParameter(PARAMETER, f"There is no file {path}.")
    return path
