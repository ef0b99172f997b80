"""A tokenizer of any Hugging Face folder: text to ids and back, with its special tokens and its chat template."""

import copy
import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import tokenizers

from turnwise.core.errors import ModelNotFound, UserError
from turnwise.core.files import atomic_write
from turnwise.text.rendering.demonstrations import Demonstrations
from turnwise.text.tokenization.tokenizer_files import (
    DEMONSTRATIONS_FILE,
    call_backend,
    config_to_save,
    read_backend,
    read_demonstrations,
    read_stop_ids,
    read_template,
    read_tokenizer_config,
)

_SURROGATES = re.compile("[\ud800-\udfff]")  # halves of characters, which JSON can spell and UTF-8 cannot

LONG = 4096  # characters from which on a text is tokenized without holding the interpreter
MASK_TOKEN = "<|mask|>"  # noqa: S105 (no password); what stands for a hidden token, in tokenizers of ours that need one


class TooManyTokens(Exception):
    """A text has more tokens than the caller allows.

    Attributes:
        count: the number of tokens, or a lower bound of it.
        is_exact: whether `count` is the number itself.
    """

    def __init__(self, count: int, *, is_exact: bool) -> None:
        super().__init__(f"{count} tokens")
        self.count, self.is_exact = count, is_exact


@dataclass(frozen=True, slots=True)
class Encoding:
    """Ids and, for each, the characters `[start, end)` of the text it came from."""

    ids: list[int]
    offsets: Sequence[tuple[int, int]]


class _Offsets(Sequence[tuple[int, int]]):
    """Offsets as the backend has them: a list of a million pairs would hold the interpreter for a second."""

    def __init__(self, encoding: tokenizers.Encoding) -> None:
        self._encoding = encoding

    def __len__(self) -> int:
        return len(self._encoding)

    @overload
    def __getitem__(self, index: int) -> tuple[int, int]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[int, int]]: ...
    def __getitem__(self, index: int | slice) -> tuple[int, int] | list[tuple[int, int]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(index)
        span: tuple[int, int] | None = self._encoding.token_to_chars(at)
        assert span is not None, "the index was checked"
        return span


@dataclass
class Tokenizer:
    """Text to ids and back.

    Attributes:
        backend: the fast tokenizer that does the work.
        named: the named special tokens (`bos_token`, `eos_token`, …) as text, for templates.
        chat_template: the folder's Jinja template, or None.
        stop_ids: ids at which an answer ends.
        demonstrations: dialogues that its model is shown before every other.
    """

    backend: tokenizers.Tokenizer
    special_tokens_map: dict[str, str] = field(default_factory=dict)
    chat_template: str | None = None
    stop_ids: frozenset[int] = frozenset()
    config: dict[str, Any] = field(default_factory=dict)
    demonstrations: Demonstrations | None = None

    def __post_init__(self) -> None:
        added = self.backend.get_added_tokens_decoder()
        self.special_ids = frozenset(id for id, token in added.items() if token.special)
        self.special_tokens = tuple(sorted((added[id].content for id in self.special_ids), key=len, reverse=True))
        # Batches are padded and dialogues cut by those who know why, never silently by what a folder asks for.
        self.backend.no_padding()
        self.backend.no_truncation()
        # It would add a beginning and take spaces out of offsets. It is kept for the folder, where others may want it.
        self._post_processor = self.backend.post_processor
        self.bos_ids = self._opening()
        self.backend.post_processor = None
        self._any_normalized = any(token.special and token.normalized for token in added.values())
        eos = self.token_to_id(self.special_tokens_map["eos_token"]) if "eos_token" in self.special_tokens_map else None
        if eos is not None:
            self.stop_ids |= {eos}

    @property
    def vocab_size(self) -> int:
        """Ids run from 0 to this, exclusive."""
        highest = max(self.backend.get_added_tokens_decoder(), default=-1)  # added ids may leave a gap below them
        return max(self.backend.get_vocab_size(with_added_tokens=True), highest + 1)

    @property
    def pad_token_id(self) -> int:
        """An id to fill batches with; it is masked everywhere, so any will do."""
        if (pad := self.special_tokens_map.get("pad_token")) and (known := self.token_to_id(pad)) is not None:
            return known
        return next(iter(sorted(self.stop_ids)), 0)

    @property
    def eos_token_id(self) -> int | None:
        """The id that ends a text."""
        return (
            self.token_to_id(self.special_tokens_map["eos_token"]) if "eos_token" in self.special_tokens_map else None
        )

    @property
    def mask_token_id(self) -> int | None:
        """The id that stands for a hidden token, where there is one."""
        return (
            self.token_to_id(self.special_tokens_map["mask_token"])
            if "mask_token" in self.special_tokens_map
            else self.token_to_id(MASK_TOKEN)
        )

    def with_special_tokens(self, texts: Sequence[str]) -> "Tokenizer":
        """The same tokenizer with these special tokens as well, after all others; it may share the backend."""
        new = [text for text in texts if self.token_to_id(text) is None]
        if not new:
            return self
        backend = tokenizers.Tokenizer.from_str(self.backend.to_str())
        backend.post_processor = self._post_processor
        backend.add_special_tokens(new)
        named = self.special_tokens_map | ({"mask_token": MASK_TOKEN} if MASK_TOKEN in new else {})
        config = self.config | ({"mask_token": MASK_TOKEN} if MASK_TOKEN in new else {})
        return Tokenizer(backend, named, self.chat_template, self.stop_ids, config, self.demonstrations)

    def with_chat_template(self, template: str) -> "Tokenizer":
        """The same tokenizer with this chat template; it shares the backend."""
        found = copy.copy(self)
        found.chat_template = template
        return found

    def token_to_id(self, token: str) -> int | None:
        """The id of one token's exact text, or None."""
        return self.backend.token_to_id(token)

    def _opening(self) -> tuple[int, ...]:
        """What the tokenizer itself puts before any text, such as the token for its beginning."""
        try:
            encoded = call_backend("", lambda: self.backend.encode("a", add_special_tokens=True))
        except UserError:  # a vocabulary may have no "a"
            return ()
        return tuple(itertools.takewhile(lambda id: id in self.special_ids, encoded.ids))

    def encode(self, text: str, *, allow_special: bool = False, max_tokens: int | None = None) -> list[int]:
        """Ids of `text`. Text that spells a special token stays text unless `allow_special` is set.

        Raises:
            TooManyTokens: there are more than `max_tokens`.
        """
        return self._encode(text, allow_special, max_tokens).ids

    def encode_with_offsets(self, text: str, *, allow_special: bool = False, max_tokens: int | None = None) -> Encoding:
        """Ids of `text` with the characters each came from. No beginning or end tokens are added.

        Raises:
            TooManyTokens: there are more than `max_tokens`.
        """
        encoded = self._encode(text, allow_special, max_tokens)
        return Encoding(encoded.ids, _Offsets(encoded))

    def _encode(self, text: str, allow_special: bool, max_tokens: int | None) -> tokenizers.Encoding:
        if not text.isascii():
            text = _SURROGATES.sub("\ufffd", text)
        backend = self.backend if allow_special or not self._spells_special(text) else self._literal
        encoded = call_backend("The model's tokenizer fails on this text", lambda: _encoding(backend, text))
        if max_tokens is not None and len(encoded) > max_tokens:
            raise TooManyTokens(len(encoded), is_exact=True)
        return encoded

    def _spells_special(self, text: str) -> bool:
        return self._any_normalized or any(token in text for token in self.special_tokens)

    @cached_property
    def _literal(self) -> tokenizers.Tokenizer:
        """A copy of the backend to which special tokens are ordinary text. A switch would have to be locked."""
        backend = _sharing(self.backend) or tokenizers.Tokenizer.from_str(self.backend.to_str())
        backend.encode_special_tokens = True
        return backend

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Text of `ids`. Bytes that are no character yet come out as U+FFFD; `text.stream` waits for the rest."""
        return call_backend(
            "The model's tokenizer fails on these tokens",
            lambda: _decoded(self.backend, list(ids), skip_special_tokens),
        )

    @classmethod
    def load(cls, folder: Path | str) -> "Tokenizer":
        """The tokenizer of a Hugging Face folder.

        `tokenizer.json` is read directly, `vocab.json` with `merges.txt` becomes byte-level BPE, and anything older
        (SentencePiece, WordPiece) is converted by transformers where that is installed.

        Raises:
            ModelNotFound: the folder does not exist or holds no tokenizer.
            UserError: one of its files is damaged, or asks for what no tokenizer needs.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise ModelNotFound(f"There is no folder {folder}.")
        config, named = read_tokenizer_config(folder)
        return cls(
            backend=read_backend(folder, named, config),
            special_tokens_map=named,
            chat_template=read_template(folder, config),
            stop_ids=read_stop_ids(folder),
            config=config,
            demonstrations=read_demonstrations(folder),
        )

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json`, `tokenizer_config.json` and `chat_template.jinja` as transformers reads them."""
        folder.mkdir(parents=True, exist_ok=True)
        backend = tokenizers.Tokenizer.from_str(self.backend.to_str())
        backend.post_processor = self._post_processor
        atomic_write(folder / "tokenizer.json", backend.to_str(pretty=False))
        config = config_to_save(self.config) | self.special_tokens_map
        atomic_write(folder / "tokenizer_config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n")
        if self.chat_template is not None:
            atomic_write(folder / "chat_template.jinja", self.chat_template)
        if self.demonstrations is not None:
            dialogues = [[message.as_dict() for message in dialogue] for dialogue in self.demonstrations.dialogues]
            kept = {"shots": self.demonstrations.shots, "dialogues": dialogues}
            atomic_write(folder / DEMONSTRATIONS_FILE, json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


def _sharing(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer | None:
    """A second tokenizer over the same parts, in a millisecond; None where the added tokens would get other ids.

    Reading the whole tokenizer again takes a second for 150,000 tokens, and holds the interpreter.
    """
    copied = tokenizers.Tokenizer(backend.model)
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        if (value := getattr(backend, part)) is not None:
            setattr(copied, part, value)
    added = backend.get_added_tokens_decoder()
    for _, token in sorted(added.items()):
        (copied.add_special_tokens if token.special else copied.add_tokens)([token])
    return copied if copied.get_added_tokens_decoder() == added else None


# Of the library's calls only those for batches let other threads run meanwhile.


def _encoding(backend: tokenizers.Tokenizer, text: str) -> tokenizers.Encoding:
    if len(text) < LONG:
        return backend.encode(text, add_special_tokens=False)
    return backend.encode_batch([text], add_special_tokens=False)[0]


def _decoded(backend: tokenizers.Tokenizer, ids: list[int], skip_special_tokens: bool) -> str:
    if len(ids) < LONG:
        return backend.decode(ids, skip_special_tokens=skip_special_tokens)
    return backend.decode_batch([ids], skip_special_tokens=skip_special_tokens)[0]
