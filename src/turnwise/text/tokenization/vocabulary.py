"""Bytes of every token, for logprobs and for constraints on single tokens."""

from bisect import bisect_left
from functools import cached_property
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from turnwise.text.tokenization.tokenizer import Tokenizer


class Vocabulary:
    """Bytes of the tokens of a tokenizer. A token may be an incomplete character."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def __len__(self) -> int:
        return self._tokenizer.vocab_size

    def prepare(self) -> None:
        """Build the tables now instead of at the first use."""
        self._sorted_bytes  # noqa: B018

    def token_bytes(self, id: int) -> bytes:
        """Bytes of the token; for a special token, its text."""
        return self._bytes[id]

    def output_bytes(self, id: int) -> bytes:
        """Bytes that the token adds to a response; empty for a special token."""
        return b"" if id in self._tokenizer.special_ids else self._bytes[id]

    def tokens_with_prefix(self, prefix: bytes) -> NDArray[np.int64]:
        """Ids of all tokens, except special ones, whose bytes start with `prefix`."""
        first = bisect_left(self._sorted_bytes, prefix)
        last = bisect_left(self._sorted_bytes, prefix + b"\xff" * 64, lo=first)
        return self._sorted_ids[first:last]

    def tokens_containing(self, substring: bytes) -> NDArray[np.int64]:
        """Ids of all tokens, except special ones, whose bytes contain `substring`."""
        positions = [i for i, token in enumerate(self._sorted_bytes) if substring in token]
        return self._sorted_ids[np.asarray(positions, dtype=np.int64)]

    @cached_property
    def max_token_bytes(self) -> int:
        """Length of the longest token, without special ones."""
        return max(map(len, self._sorted_bytes), default=0)

    @cached_property
    def _bytes(self) -> list[bytes]:
        backend = self._tokenizer.backend
        tokens = [backend.id_to_token(id) or "" for id in range(len(self))]  # "": unused id below added tokens
        added_tokens = backend.get_added_tokens_decoder()
        to_bytes = _byte_level_bytes if is_byte_level(backend) else _sentencepiece_bytes
        return [token.encode() if id in added_tokens else to_bytes(token) for id, token in enumerate(tokens)]

    @cached_property
    def _sorted_ids(self) -> NDArray[np.int64]:
        return np.asarray(sorted(range(len(self)), key=self.output_bytes), dtype=np.int64)

    @cached_property
    def _sorted_bytes(self) -> list[bytes]:
        return [self.output_bytes(int(id)) for id in self._sorted_ids]


def is_byte_level(backend: tokenizers.Tokenizer) -> bool:
    """True if tokens are written in GPT-2's byte alphabet. Serializing the whole backend would take 0.3 s."""
    components: tuple[Any, ...] = (backend.normalizer, backend.pre_tokenizer, backend.decoder)
    return any(b'"ByteLevel"' in component.__getstate__() for component in components if component is not None)


def _sentencepiece_bytes(token: str) -> bytes:
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        return bytes([int(token[3:5], 16)])
    return token.replace("▁", " ").encode()  # SentencePiece's space


def _byte_level_bytes(token: str) -> bytes:
    return token.translate(_BYTE_BY_CHARACTER).encode("latin-1")


class _ByteTable(dict[int, int | None]):
    """Table for `str.translate` from characters of the alphabet to bytes. Other characters are deleted."""

    def __missing__(self, character: int) -> None:
        return None


def _build_byte_table() -> _ByteTable:
    """GPT-2's alphabet: every byte as a printable character (Radford et al. 2019)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    unprintable = [byte for byte in range(256) if byte not in printable]
    return _ByteTable({byte: byte for byte in printable} | {256 + i: byte for i, byte in enumerate(unprintable)})


_BYTE_BY_CHARACTER = _build_byte_table()
