"""A lower bound on how many tokens a text has, without tokenizing it.

Every byte of a text belongs to one token, and that token is no longer than the longest one that contains this byte. So
a text has at least the sum of `1 / longest[byte]` tokens. The sum takes milliseconds for megabytes, where tokenizing
takes seconds; a prompt that is certainly too long can be refused at once.

The bound holds only where all bytes of a text reach the tokens: byte-level BPE and BPE with byte fallback, without a
normalizer that deletes text. For other tokenizers it is 0.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.text.tokenization.vocabulary import Vocabulary

CHUNK = 1 << 18  # bytes counted at a time, so that the interpreter is never held for long
_SPACES = bytes(
    [*range(9, 14), *range(28, 33), *range(128, 256)]
)  # white space, and what longer white space is spelled with
_NFC_SHRINKS = 4  # Composition makes a text at most three times shorter (U+212A, three bytes, becomes "K").


class TokenLowerBound:
    """The bound for one tokenizer."""

    def __init__(self, tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
        longest = _longest(tokenizer, vocabulary)
        with np.errstate(divide="ignore"):
            self._weights = np.where(longest > 0, 1 / longest, 0.0)
        self._composes = "NFC" in _kinds(tokenizer.backend.normalizer)
        self._least = float(self._weights.min()) / _NFC_SHRINKS

    def __call__(self, text: str) -> int:
        """The number of tokens that `text` has at least."""
        data = text.encode(errors="replace")
        if self._composes and not text.isascii():
            return int(len(data) * self._least)
        counts = np.zeros(256, np.int64)
        for start in range(0, len(data), CHUNK):
            counts += np.bincount(np.frombuffer(data, np.uint8, min(CHUNK, len(data) - start), start), minlength=256)
        return int(counts @ self._weights * (1 - 1e-9))  # rounding must not make it one too many


def _longest(tokenizer: Tokenizer, vocabulary: Vocabulary) -> NDArray[np.float64]:
    """For each byte the length of the longest token that contains it; 0 where the byte may get lost."""
    longest = np.zeros(256)
    if not _keeps_every_byte(tokenizer):
        return longest
    byte_level = "ByteLevel" in _kinds(tokenizer.backend.pre_tokenizer)
    ids = range(len(vocabulary))
    tokens = [vocabulary.token_bytes(id) for id in ids]
    # SentencePiece's blank is three bytes, and a text may spell it out.
    written = tokens if byte_level else [(tokenizer.backend.id_to_token(id) or "").encode() for id in ids]
    lengths = np.maximum(_lengths(tokens), _lengths(written))
    for spelled in (tokens, written):
        inside = np.frombuffer(b"".join(spelled), np.uint8)
        np.maximum.at(longest, inside, np.repeat(lengths, _lengths(spelled)))
    single = np.zeros(256, np.bool_)
    single[[token[0] for token in tokens if len(token) == 1]] = True
    longest[~single] = 0
    if not byte_level and not all(single):
        longest[:] = 0  # an unknown character has no bytes to fall back to
    if any(token.lstrip or token.rstrip for token in tokenizer.backend.get_added_tokens_decoder().values()):
        longest[list(_SPACES)] = 0  # such a token takes the white space around it
    return longest


def _lengths(tokens: Sequence[bytes]) -> NDArray[np.int64]:
    return np.fromiter(map(len, tokens), np.int64, len(tokens))


def _keeps_every_byte(tokenizer: Tokenizer) -> bool:
    backend = tokenizer.backend
    if type(backend.model).__name__ != "BPE":
        return False
    splits = _kinds(backend.pre_tokenizer)
    keeps = _kinds(backend.normalizer) <= {"NFC", "Prepend", "Replace"} and splits <= {
        "ByteLevel",
        "Metaspace",
        "Digits",
        "Split",
    }
    return keeps and ("ByteLevel" in splits or backend.model.byte_fallback)


def _kinds(component: Any) -> set[str]:
    """The types of the steps of a normalizer or pre-tokenizer; a step that may delete text counts as "Deletes"."""
    return set() if component is None else set(_steps(json.loads(component.__getstate__())))


def _steps(state: dict[str, Any]) -> Iterator[str]:
    for step in state.get("normalizers") or state.get("pretokenizers") or ():
        yield from _steps(step)
    is_blank = state["type"] == "Replace" and (state["pattern"], state["content"]) == ({"String": " "}, "▁")
    if (state["type"] == "Replace" and not is_blank) or (state["type"] == "Split" and state["behavior"] == "Removed"):
        yield "Deletes"
    elif state["type"] != "Sequence":
        yield state["type"]
