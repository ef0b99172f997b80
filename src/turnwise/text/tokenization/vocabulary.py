"""The bytes of every token, for whoever must look at single tokens: log-probabilities, words that must not occur."""

from bisect import bisect_left
from functools import cached_property
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from turnwise.text.tokenization.tokenizer import Tokenizer

SENTINEL = "\ufdd2"  # a non-character: no token spans it and what comes after


class Vocabulary:
    """What each id of a tokenizer stands for, as bytes: a token may be a part of a character."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def __len__(self) -> int:
        return self._tokenizer.vocab_size

    def prepare(self) -> None:
        """Build the tables that the first use would build."""
        self._sorted  # noqa: B018

    def token_bytes(self, id: int) -> bytes:
        """The token's bytes; a special token's text."""
        return self._bytes[id]

    def output_bytes(self, id: int) -> bytes:
        """What the token adds to an answer: nothing, if it is a special one."""
        return b"" if id in self._tokenizer.special_ids else self._bytes[id]

    def tokens_with_prefix(self, beginning: bytes) -> NDArray[np.int64]:
        """The ids of all shown tokens that start with these bytes."""
        first = bisect_left(self._sorted, beginning)
        last = bisect_left(self._sorted, beginning + b"\xff" * 64, lo=first)
        return self._order[first:last]

    def tokens_containing(self, part: bytes) -> NDArray[np.int64]:
        """The ids of all shown tokens that hold these bytes."""
        found = [i for i, token in enumerate(self._sorted) if part in token]
        return self._order[np.asarray(found, dtype=np.int64)]

    @cached_property
    def _bytes(self) -> list[bytes]:
        backend = self._tokenizer.backend
        tokens = [backend.id_to_token(id) or "" for id in range(len(self))]  # "": a gap below the added tokens
        added = backend.get_added_tokens_decoder()
        dump_plugin = _byte_level if is_byte_level(backend) else _sentencepiece
        return [token.encode() if id in added else dump_plugin(token) for id, token in enumerate(tokens)]

    @cached_property
    def max_token_bytes(self) -> int:
        """Bytes of the longest shown token."""
        return max(map(len, self._sorted), default=0)

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        return np.asarray(sorted(range(len(self)), key=self.output_bytes), dtype=np.int64)

    @cached_property
    def _sorted(self) -> list[bytes]:
        return [self.output_bytes(int(id)) for id in self._order]


class LLGuidanceTokenizer:
    """A tokenizer as llguidance takes it from Python (its `TokenizerWrapper`).

    Read from `tokenizer.json`, it would treat every added token in angle brackets as special, also one that is text,
    such as the tags that many models write tool calls with.
    """

    def __init__(self, tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
        self.size = len(vocabulary)
        self.tokens = [vocabulary.token_bytes(id) for id in range(self.size)]
        self.special_token_ids = sorted(tokenizer.special_ids)
        self.eos_token_id = min(tokenizer.stop_ids, default=tokenizer.pad_token_id)
        self.bos_token_id = None
        self._tokenizer = tokenizer

    def __call__(self, text: bytes) -> list[int]:
        """Ids whose bytes are exactly `text`, as the tokenizer would write it after other text."""
        # A mark in front keeps a tokenizer from treating the rest as the beginning of a text.
        ids, said = self._tokenizer.encode(f"{SENTINEL}{text.decode(errors='replace')}"), b""
        for i, id in enumerate(ids):
            said += self.tokens[id]
            if said.endswith(SENTINEL.encode()):
                if b"".join(self.tokens[id] for id in ids[i + 1 :]) == text:
                    return ids[i + 1 :]
                break
        return self._greedy(text)

    def _greedy(self, text: bytes) -> list[int]:
        """The longest token at every place; less than the text where no token goes on."""
        ids, at = [], 0
        while at < len(text):
            for end in range(min(len(text), at + self._longest), at, -1):
                if (id := self._by_bytes.get(text[at:end])) is not None:
                    ids.append(id)
                    at = end
                    break
            else:
                break
        return ids

    @cached_property
    def _by_bytes(self) -> dict[bytes, int]:
        special = set(self.special_token_ids)
        return {token: id for id, token in enumerate(self.tokens) if token and id not in special}

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._by_bytes), default=0)


def is_byte_level(backend: tokenizers.Tokenizer) -> bool:
    """Whether tokens are spelled in GPT-2's byte alphabet. Writing out the backend to look would take 0.3 s."""
    components: tuple[Any, ...] = (backend.normalizer, backend.pre_tokenizer, backend.decoder)
    return any(b'"ByteLevel"' in component.__getstate__() for component in components if component is not None)


def _sentencepiece(token: str) -> bytes:
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        return bytes([int(token[3:5], 16)])
    return token.replace("▁", " ").encode()  # SentencePiece's blank


def _byte_level(token: str) -> bytes:
    return token.translate(_BYTE_OF).encode("latin-1")


class _ByteOf(dict[int, int | None]):
    """The byte of each character of the alphabet, by code point; `str.translate` deletes all others."""

    def __missing__(self, character: int) -> None:
        return None


def _byte_alphabet() -> _ByteOf:
    """GPT-2's spelling of bytes as printable characters (Radford et al. 2019)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return _ByteOf({byte: byte for byte in printable} | {256 + i: byte for i, byte in enumerate(others)})


_BYTE_OF = _byte_alphabet()
