"""The bytes of every token, for whoever must look at single tokens: log-probabilities, words that must not occur."""

from bisect import bisect_left
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from turnwise.text.tokenizer import Tokenizer

MARK = "\ufdd2"  # a non-character: no token spans it and what comes after


class Vocabulary:
    """What each id of a tokenizer stands for, as bytes: a token may be a part of a character."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def __len__(self) -> int:
        return self._tokenizer.vocab_size

    def bytes_of(self, id: int) -> bytes:
        """The token's bytes; a special token's text."""
        return self._bytes[id]

    def shown(self, id: int) -> bytes:
        """What the token adds to an answer: nothing, if it is a special one."""
        return b"" if id in self._tokenizer.special_ids else self._bytes[id]

    def starting_with(self, beginning: bytes) -> NDArray[np.int64]:
        """The ids of all shown tokens that start with these bytes."""
        first = bisect_left(self._sorted, beginning)
        last = bisect_left(self._sorted, beginning + b"\xff" * 64, lo=first)
        return self._order[first:last]

    def containing(self, part: bytes) -> NDArray[np.int64]:
        """The ids of all shown tokens that hold these bytes."""
        found = [i for i, token in enumerate(self._sorted) if part in token]
        return self._order[np.asarray(found, dtype=np.int64)]

    @cached_property
    def _bytes(self) -> list[bytes]:
        backend = self._tokenizer.backend
        added = backend.get_added_tokens_decoder()
        byte_level = '"ByteLevel"' in backend.to_str()

        def look_up(id: int) -> bytes:
            token = backend.id_to_token(id)
            if token is None:
                return b""  # a gap between the vocabulary and the added tokens
            if id in added:
                return token.encode()
            if byte_level:
                return bytes(_BYTE_OF[character] for character in token if character in _BYTE_OF)
            if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
                return bytes([int(token[3:5], 16)])
            return token.replace("▁", " ").encode()  # SentencePiece's blank

        return [look_up(id) for id in range(len(self))]

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        return np.asarray(sorted(range(len(self)), key=self.shown), dtype=np.int64)

    @cached_property
    def _sorted(self) -> list[bytes]:
        return [self.shown(int(id)) for id in self._order]


class TokensForGrammars:
    """A tokenizer as llguidance takes it from Python (its `TokenizerWrapper`).

    Read from `tokenizer.json`, it would treat every added token in angle brackets as special, also one that is text,
    such as the tags that many models write tool calls with.
    """

    def __init__(self, tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
        self.size = len(vocabulary)
        self.tokens = [vocabulary.bytes_of(id) for id in range(self.size)]
        self.special_token_ids = sorted(tokenizer.special_ids)
        self.eos_token_id = min(tokenizer.stop_ids, default=tokenizer.pad_id)
        self.bos_token_id = None
        self._tokenizer = tokenizer

    def __call__(self, text: bytes) -> list[int]:
        """Ids whose bytes are exactly `text`, as the tokenizer would write it after other text."""
        # A mark in front keeps a tokenizer from treating the rest as the beginning of a text.
        ids, said = self._tokenizer.encode(f"{MARK}{text.decode(errors='replace')}"), b""
        for i, id in enumerate(ids):
            said += self.tokens[id]
            if said.endswith(MARK.encode()):
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


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's spelling of bytes as printable characters (Radford et al. 2019)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


_BYTE_OF = _byte_alphabet()
