"""Calls to the Hugging Face `tokenizers` library: errors, the GIL, and cheap copies."""

from collections.abc import Callable
from typing import TypeVar

import tokenizers

from turnwise.core.errors import UserError
from turnwise.core.json_file import preview

# Only the batch functions of the library release the GIL. They are used for inputs of at least this length.
MIN_BATCH_CALL_LENGTH = 4096  # characters or ids

T = TypeVar("T")


def call_backend(message: str, call: Callable[[], T]) -> T:
    """The result of a call to the library. Its exceptions and panics become a `UserError` that starts with `message`.

    Raises:
        UserError: the call failed.
    """
    try:
        return call()
    except Exception as error:  # the library raises bare Exception
        raise UserError(f"{message}: {preview(str(error), 200)}.") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # a panic of its Rust code is not an Exception
            raise
        raise UserError(f"{message}: {preview(str(error), 200)}.") from error


def encode_text(backend: tokenizers.Tokenizer, text: str) -> tokenizers.Encoding:
    """Encode without adding special tokens."""
    if len(text) < MIN_BATCH_CALL_LENGTH:
        return backend.encode(text, add_special_tokens=False)
    return backend.encode_batch([text], add_special_tokens=False)[0]


def decode_ids(backend: tokenizers.Tokenizer, ids: list[int], skip_special_tokens: bool) -> str:
    """Decode ids to text."""
    if len(ids) < MIN_BATCH_CALL_LENGTH:
        return backend.decode(ids, skip_special_tokens=skip_special_tokens)
    return backend.decode_batch([ids], skip_special_tokens=skip_special_tokens)[0]


def copy_sharing_components(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer | None:
    """A second tokenizer with the same components; None if the added tokens would get other ids.

    Takes a millisecond. A copy by serialization takes a second for 150,000 tokens and holds the GIL.
    """
    copied = tokenizers.Tokenizer(backend.model)
    for component in ("normalizer", "pre_tokenizer", "decoder"):
        if (value := getattr(backend, component)) is not None:
            setattr(copied, component, value)
    added_tokens = backend.get_added_tokens_decoder()
    for _, token in sorted(added_tokens.items()):
        (copied.add_special_tokens if token.special else copied.add_tokens)([token])
    return copied if copied.get_added_tokens_decoder() == added_tokens else None
