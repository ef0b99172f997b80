"""The files of a tokenizer in a Hugging Face folder, read strictly: what is in them is somebody else's."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tokenizers
from pydantic import Field

from turnwise.core.errors import ModelNotFound, UserError
from turnwise.core.json_file import (
    MAX_BYTES,
    JsonFileModel,
    parse_json,
    preview,
    read_bytes,
    read_optional_json_object,
    validate_fields,
)
from turnwise.core.messages import ROLES, Message
from turnwise.text.chat_templates.chat_template import check_template
from turnwise.text.rendering.demonstrations import Demonstrations

# Token names a template may use, as in `{{ bos_token }}`.
SPECIAL_TOKEN_NAMES = ("bos_token", "eos_token", "pad_token", "unk_token", "mask_token")
DEMONSTRATIONS_FILE = "demonstrations.json"
GENERIC_CLASS = "PreTrainedTokenizerFast"  # any version of transformers reads `tokenizer.json` with it
NOT_SAVED = ("chat_template", "auto_map", "backend", "is_local", "local_files_only")
MAX_IDS = 2**22  # of a vocabulary; tables with a row for every id are made
MAX_TEMPLATE_BYTES = 4 * 2**20
MAX_GROWTH = 1000  # times that a normalizer may lengthen a text
# Texts on which a damaged tokenizer fails, and a regular expression that tries too many ways gives up.
PROBES = ("Hello, world! 123\n", "a" * 48 + "!", "1" * 48 + "x", " " * 48 + "\u00e9")
T = TypeVar("T")

_TOKEN_TEXT = Field(None, description="a text, an object with a text as its 'content', or null")


class _AddedToken(JsonFileModel):
    content: str = Field(description="a text")


class _TokenizerFields(JsonFileModel):
    """Read of `tokenizer_config.json` and `special_tokens_map.json`."""

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
    """Read of `tokenizer_config.json` and `chat_template.json`."""

    chat_template: str | list[_NamedTemplate] | None = Field(
        None, description="a text, a list of objects with 'name' and 'template', or null"
    )


class _StopFields(JsonFileModel):
    """Read of `generation_config.json` and `config.json`."""

    eos_token_id: Annotated[int, Field(ge=-1, le=2**31)] | list[Annotated[int, Field(ge=-1, le=2**31)]] | None = Field(
        None, description="a token id, a list of them, or null"
    )


class _ShownMessage(JsonFileModel):
    role: str = Field(description="a role")
    content: str = Field(description="a text")


class _DemonstrationFields(JsonFileModel):
    shots: Annotated[int, Field(ge=0, le=1000)] = Field(description="a whole number from 0 to 1,000")
    dialogues: list[list[_ShownMessage]] = Field(description="a list of lists of messages")


def read_fields(path: Path, *fields: type[JsonFileModel]) -> dict[str, Any]:
    """The object in a JSON file whose fields are as declared; empty where there is no such file.

    Raises:
        UserError: it is not readable JSON, or a field is not what it should be.
    """
    values = read_optional_json_object(path)
    for declared in fields:
        validate_fields(declared, values, str(path))
    return values


def read_tokenizer_config(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """`tokenizer_config.json`, and the named special tokens as text. Raises as `read_fields` does."""
    config = read_fields(folder / "tokenizer_config.json", _TokenizerFields, _TemplateFields)
    special_map = read_fields(folder / "special_tokens_map.json", _TokenizerFields)
    tokens = special_map | {name: token for name, token in config.items() if token}
    return config, {name: _token_text(tokens[name]) for name in SPECIAL_TOKEN_NAMES if tokens.get(name)}


def _token_text(token: str | dict[str, Any]) -> str:
    """Configs write a token as its text or as an object with `content`."""
    return token if isinstance(token, str) else str(token["content"])


def read_template(folder: Path, config: dict[str, Any]) -> str | None:
    """The chat template of a folder, which compiles; None where there is none.

    Args:
        folder: the folder.
        config: its `tokenizer_config.json`.

    Raises:
        UserError: it is no UTF-8 text or no template.
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
        if isinstance(template, list):  # several named templates: the default one is for chatting
            template = next((entry["template"] for entry in template if entry["name"] == "default"), None)
    if template is not None:
        check_template(template)
    return template if template is None else str(template)


def read_demonstrations(folder: Path) -> Demonstrations | None:
    """The dialogues that a model is shown, or None. Raises as `read_fields` does."""
    path = folder / DEMONSTRATIONS_FILE
    if not path.is_file():
        return None
    kept = read_fields(path, _DemonstrationFields)
    roles = {message["role"] for dialogue in kept["dialogues"] for message in dialogue}
    if strange := sorted(roles - set(ROLES)):
        raise UserError(f"{path} does not hold demonstrations: there is no role {preview(strange[0])}.")
    dialogues = tuple(tuple(Message(m["role"], m["content"]) for m in dialogue) for dialogue in kept["dialogues"])
    return Demonstrations(dialogues, kept["shots"])


def read_stop_ids(folder: Path) -> frozenset[int]:
    """The ids at which an answer ends, as the model's own files say. Raises as `read_fields` does."""
    eos = read_fields(folder / "generation_config.json", _StopFields).get("eos_token_id")
    if eos is None:
        eos = read_fields(folder / "config.json", _StopFields).get("eos_token_id")
    if eos is None:
        return frozenset()
    return frozenset(id for id in ([eos] if isinstance(eos, int) else eos) if id >= 0)


def read_backend(folder: Path, named: dict[str, str], config: dict[str, Any]) -> tokenizers.Tokenizer:
    """The tokenizer that does the work, tried out on a few texts.

    Args:
        folder: the folder.
        named: its named special tokens; a default for the end of a text may be added.
        config: its `tokenizer_config.json`.

    Raises:
        ModelNotFound: the folder holds no tokenizer.
        UserError: it cannot be read, or fails on plain text.
    """
    with _quiet_stderr():
        if (path := folder / "tokenizer.json").is_file():
            if (size := path.stat().st_size) > MAX_BYTES:
                raise UserError(f"{path} has {size:,} bytes; at most {MAX_BYTES:,} are read.")
            what = f"{path} is not a tokenizer this version can read"
            backend = call_backend(what, lambda: tokenizers.Tokenizer.from_file(str(path)))
        else:
            what = f"The tokenizer in {folder} fails"
            backend = _older_backend(folder, named, config)
        _check_growth(backend, what)
        highest = max(backend.get_vocab(with_added_tokens=True).values(), default=0)
        if highest >= MAX_IDS:
            raise UserError(f"{what}: it has a token of id {highest:,}; at most {MAX_IDS:,} ids are read.")
        for probe in PROBES:
            call_backend(what, partial(_round_trip, backend, probe))
    return backend


def _round_trip(backend: tokenizers.Tokenizer, text: str) -> str:
    return backend.decode(backend.encode(text, add_special_tokens=False).ids)


def _older_backend(folder: Path, named: dict[str, str], config: dict[str, Any]) -> tokenizers.Tokenizer:
    pair = (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file()
    # Others that ship this pair split text into words in ways of their own.
    if pair and (config.get("tokenizer_class") or "GPT2Tokenizer").removesuffix("Fast") == "GPT2Tokenizer":
        return _byte_level_bpe(folder, named, config)
    return _convert_with_transformers(folder)


def call_backend(what: str, call: Callable[[], T]) -> T:
    """The result of a call into the library, whose exceptions and panics become a `UserError` that begins so."""
    try:
        return call()
    except Exception as error:  # the library raises bare Exception
        raise UserError(f"{what}: {preview(str(error), 200)}.") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of its Rust code, which is no Exception
            raise
        raise UserError(f"{what}: {preview(str(error), 200)}.") from error


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep the library from writing its panics to the terminal, while a folder is opened; we say what they mean."""
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (AttributeError, OSError, ValueError):  # there is no standard error
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _check_growth(backend: tokenizers.Tokenizer, what: str) -> None:
    """Refuse a normalizer whose replacements, one after the other, would make a huge text of a short one."""
    if backend.normalizer is None:
        return
    state = call_backend(what, backend.normalizer.__getstate__)
    growth, steps = 1, [parse_json(state if isinstance(state, bytes) else str(state).encode(), what)]
    while steps:
        step = steps.pop()
        if isinstance(step, dict):
            if step.get("type") in ("Replace", "Prepend"):
                growth *= max(1, len(str(step.get("content") or step.get("prepend") or "")))
            step = list(step.values())
        if isinstance(step, list):
            steps.extend(step)
        if growth > MAX_GROWTH:
            raise UserError(f"{what}: its normalizer can make a text more than {MAX_GROWTH:,} times as long.")


def _byte_level_bpe(folder: Path, named: dict[str, str], config: dict[str, Any]) -> tokenizers.Tokenizer:
    """GPT-2's own file pair, as DialoGPT and older checkpoints ship it."""
    vocab, merges = folder / "vocab.json", folder / "merges.txt"
    what = f"vocab.json and merges.txt in {folder} cannot be read"
    backend = call_backend(
        what, lambda: tokenizers.Tokenizer(tokenizers.models.BPE.from_file(str(vocab), str(merges)))
    )  # fmt: skip
    spaced = bool(config.get("add_prefix_space", False))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=spaced)
    backend.decoder = tokenizers.decoders.ByteLevel()
    named.setdefault("eos_token", "<|endoftext|>")
    backend.add_special_tokens(sorted(set(named.values())))
    return backend


def _convert_with_transformers(folder: Path) -> tokenizers.Tokenizer:
    if not any((folder / name).is_file() for name in ("tokenizer.model", "spiece.model", "vocab.txt", "vocab.json")):
        raise ModelNotFound(f"{folder} holds no tokenizer: neither tokenizer.json nor vocab.json with merges.txt.")
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise UserError(
            f"The tokenizer in {folder} is in an older format. "
            "'pip install transformers sentencepiece' lets Turnwise convert it."
        ) from error
    backend: tokenizers.Tokenizer = call_backend(
        f"transformers cannot convert the tokenizer in {folder}",
        lambda: AutoTokenizer.from_pretrained(str(folder), local_files_only=True).backend_tokenizer,
    )
    return backend


def config_to_save(config: Mapping[str, Any]) -> dict[str, Any]:
    """A tokenizer's config without what transformers 5 alone understands, and without what is saved elsewhere."""
    kept: dict[str, Any] = {"tokenizer_class": GENERIC_CLASS, "clean_up_tokenization_spaces": False}
    kept |= {key: value for key, value in config.items() if key not in NOT_SAVED}
    if kept["tokenizer_class"] == "TokenizersBackend":
        kept["tokenizer_class"] = GENERIC_CLASS
    if isinstance(kept.get("extra_special_tokens"), list):  # version 4 wants names for them
        kept["additional_special_tokens"] = kept.pop("extra_special_tokens")
    return kept
