"""Loads the tokenizer of a Hugging Face folder. The files are untrusted, so a loaded tokenizer is tested on texts."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import tokenizers

from turnwise.core.errors import ModelNotFound, UserError
from turnwise.core.json_file import MAX_BYTES, parse_json
from turnwise.text.tokenization.backend import call_backend

MAX_IDS = 2**22  # vocabulary size; some tables have a row for every id
MAX_GROWTH = 1000  # factor by which a normalizer may lengthen a text
# Texts on which damaged tokenizers fail, and on which regular expressions backtrack exponentially.
PROBES = ("Hello, world! 123\n", "a" * 48 + "!", "1" * 48 + "x", " " * 48 + "\u00e9")


def load_backend(folder: Path, special_tokens_map: dict[str, str], config: dict[str, Any]) -> tokenizers.Tokenizer:
    """Load a tokenizer and test it.

    Args:
        folder: the model folder.
        special_tokens_map: named special tokens. A default for `eos_token` may be added.
        config: `tokenizer_config.json` of the folder.

    Raises:
        ModelNotFound: the folder contains no tokenizer.
        UserError: the tokenizer cannot be loaded, or fails on plain text.
    """
    with _silence_stderr():
        if (path := folder / "tokenizer.json").is_file():
            if (size := path.stat().st_size) > MAX_BYTES:
                raise UserError(f"{path} has {size:,} bytes; at most {MAX_BYTES:,} are read.")
            message = f"{path} is not a tokenizer that this version can read"
            backend = call_backend(message, lambda: tokenizers.Tokenizer.from_file(str(path)))
        else:
            message = f"The tokenizer in {folder} fails"
            backend = _load_older_format(folder, special_tokens_map, config)
        _check_normalizer_growth(backend, message)
        max_id = max(backend.get_vocab(with_added_tokens=True).values(), default=0)
        if max_id >= MAX_IDS:
            raise UserError(f"{message}: it has a token with the id {max_id:,}; at most {MAX_IDS:,} ids are supported.")
        for probe in PROBES:
            call_backend(message, partial(_encode_and_decode, backend, probe))
    return backend


@contextmanager
def _silence_stderr() -> Iterator[None]:
    """Discard what the library writes to stderr when it panics. `call_backend` reports the error."""
    try:
        sys.stderr.flush()
        stderr_copy = os.dup(2)
    except (AttributeError, OSError, ValueError):  # there is no standard error
        yield
        return
    try:
        with Path(os.devnull).open("wb") as devnull:
            os.dup2(devnull.fileno(), 2)
        yield
    finally:
        os.dup2(stderr_copy, 2)
        os.close(stderr_copy)


def _check_normalizer_growth(backend: tokenizers.Tokenizer, message: str) -> None:
    """Reject a normalizer whose replacements, in sequence, would make a short text huge."""
    if backend.normalizer is None:
        return
    state = call_backend(message, backend.normalizer.__getstate__)
    growth, steps = 1, [parse_json(state if isinstance(state, bytes) else str(state).encode(), message)]
    while steps:
        step = steps.pop()
        if isinstance(step, dict):
            if step.get("type") in ("Replace", "Prepend"):
                growth *= max(1, len(str(step.get("content") or step.get("prepend") or "")))
            step = list(step.values())
        if isinstance(step, list):
            steps.extend(step)
        if growth > MAX_GROWTH:
            raise UserError(f"{message}: its normalizer can lengthen a text by a factor of more than {MAX_GROWTH:,}.")


def _encode_and_decode(backend: tokenizers.Tokenizer, text: str) -> str:
    return backend.decode(backend.encode(text, add_special_tokens=False).ids)


def _load_older_format(
    folder: Path, special_tokens_map: dict[str, str], config: dict[str, Any]
) -> tokenizers.Tokenizer:
    has_bpe_files = (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file()
    # Other tokenizer classes with these two files split text into words differently.
    if has_bpe_files and (config.get("tokenizer_class") or "GPT2Tokenizer").removesuffix("Fast") == "GPT2Tokenizer":
        return _load_byte_level_bpe(folder, special_tokens_map, config)
    return _convert_with_transformers(folder)


def _load_byte_level_bpe(
    folder: Path, special_tokens_map: dict[str, str], config: dict[str, Any]
) -> tokenizers.Tokenizer:
    """Load the two files of GPT-2, as in DialoGPT and older checkpoints."""
    vocab, merges = folder / "vocab.json", folder / "merges.txt"
    backend = call_backend(
        f"vocab.json and merges.txt in {folder} cannot be read",
        lambda: tokenizers.Tokenizer(tokenizers.models.BPE.from_file(str(vocab), str(merges))),
    )
    add_prefix_space = bool(config.get("add_prefix_space", False))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    backend.decoder = tokenizers.decoders.ByteLevel()
    special_tokens_map.setdefault("eos_token", "<|endoftext|>")
    backend.add_special_tokens(sorted(set(special_tokens_map.values())))
    return backend


def _convert_with_transformers(folder: Path) -> tokenizers.Tokenizer:
    if not any((folder / name).is_file() for name in ("tokenizer.model", "spiece.model", "vocab.txt", "vocab.json")):
        raise ModelNotFound(f"{folder} holds no tokenizer: neither tokenizer.json nor vocab.json with merges.txt.")
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise UserError(
            f"The tokenizer in {folder} is in an older format. "
            "To convert it, run 'pip install transformers sentencepiece'."
        ) from error
    backend: tokenizers.Tokenizer = call_backend(
        f"transformers cannot convert the tokenizer in {folder}",
        lambda: AutoTokenizer.from_pretrained(str(folder), local_files_only=True).backend_tokenizer,
    )
    return backend
