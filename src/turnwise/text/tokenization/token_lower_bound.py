"""A lower bound of the number of tokens of a text, without tokenizing it.

Every byte of a text belongs to one token, which is no longer than the longest token that contains this byte. So a text
has at least the sum of `1 / longest[byte]` tokens. The sum takes milliseconds for megabytes, where tokenizing takes
seconds, so a prompt that is certainly too long can be rejected at once.

The bound requires that the tokens contain all bytes of a text: byte-level BPE or BPE with byte fallback, without a
normalizer that deletes text. For other tokenizers it is 0.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.text.tokenization.vocabulary import Vocabulary

CHUNK = 1 << 18  # bytes per numpy call, which holds the GIL
# ASCII white space, and all bytes of longer UTF-8 white space.
_SPACES = bytes([*range(9, 14), *range(28, 33), *range(128, 256)])
# NFC makes a text at most three times shorter in bytes (U+212A, three bytes, becomes "K").
_NFC_MAX_REDUCTION = 4


class TokenLowerBound:
    """The bound for one tokenizer."""

    def __init__(self, tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
        longest = _longest_token_per_byte(tokenizer, vocabulary)
        with np.errstate(divide="ignore"):
            self._weights = np.where(longest > 0, 1 / longest, 0.0)
        self._has_nfc = "NFC" in _component_types(tokenizer.backend.normalizer)
        self._min_weight = float(self._weights.min()) / _NFC_MAX_REDUCTION

    def __call__(self, text: str) -> int:
        """Lower bound of the number of tokens of `text`."""
        data = text.encode(errors="replace")
        if self._has_nfc and not text.isascii():
            return int(len(data) * self._min_weight)
        counts = np.zeros(256, np.int64)
        for start in range(0, len(data), CHUNK):
            counts += np.bincount(np.frombuffer(data, np.uint8, min(CHUNK, len(data) - start), start), minlength=256)
        return int(counts @ self._weights * (1 - 1e-9))  # a rounding error must not make the bound too high


def _longest_token_per_byte(tokenizer: Tokenizer, vocabulary: Vocabulary) -> NDArray[np.float64]:
    """For each byte, the length of the longest token that contains it; 0 if tokens may not contain the byte. (256,)."""
    longest = np.zeros(256)
    if not _preserves_bytes(tokenizer):
        return longest
    byte_level = "ByteLevel" in _component_types(tokenizer.backend.pre_tokenizer)
    ids = range(len(vocabulary))
    tokens = [vocabulary.token_bytes(id) for id in ids]
    # SentencePiece's space character has three bytes, and a text may contain it.
    spellings = tokens if byte_level else [(tokenizer.backend.id_to_token(id) or "").encode() for id in ids]
    lengths = np.maximum(_lengths(tokens), _lengths(spellings))
    for variants in (tokens, spellings):
        all_bytes = np.frombuffer(b"".join(variants), np.uint8)
        np.maximum.at(longest, all_bytes, np.repeat(lengths, _lengths(variants)))
    has_byte_token = np.zeros(256, np.bool_)
    has_byte_token[[token[0] for token in tokens if len(token) == 1]] = True
    longest[~has_byte_token] = 0
    if not byte_level and not all(has_byte_token):
        longest[:] = 0  # no byte fallback for unknown characters
    if any(token.lstrip or token.rstrip for token in tokenizer.backend.get_added_tokens_decoder().values()):
        longest[list(_SPACES)] = 0  # such a token includes the white space around it
    return longest


def _lengths(tokens: Sequence[bytes]) -> NDArray[np.int64]:
    return np.fromiter(map(len, tokens), np.int64, len(tokens))


def _preserves_bytes(tokenizer: Tokenizer) -> bool:
    """True if no component of the tokenizer deletes text."""
    backend = tokenizer.backend
    if type(backend.model).__name__ != "BPE":
        return False
    pre_tokenizers = _component_types(backend.pre_tokenizer)
    if not _component_types(backend.normalizer) <= {"NFC", "Prepend", "Replace"}:
        return False
    if not pre_tokenizers <= {"ByteLevel", "Metaspace", "Digits", "Split"}:
        return False
    return "ByteLevel" in pre_tokenizers or bool(backend.model.byte_fallback)


def _component_types(component: Any) -> set[str]:
    """Types of the steps of a normalizer or pre-tokenizer. A step that may delete text has the type "Deletes"."""
    return set() if component is None else set(_iter_types(json.loads(component.__getstate__())))


def _iter_types(state: dict[str, Any]) -> Iterator[str]:
    for step in state.get("normalizers") or state.get("pretokenizers") or ():
        yield from _iter_types(step)
    replaces_space = state["type"] == "Replace" and (state["pattern"], state["content"]) == ({"String": " "}, "▁")
    removes = state["type"] == "Split" and state["behavior"] == "Removed"
    if (state["type"] == "Replace" and not replaces_space) or removes:
        yield "Deletes"
    elif state["type"] != "Sequence":
        yield state["type"]
