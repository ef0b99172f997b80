"""The tokenizer of a Hugging Face folder: text to token ids and back, special tokens and chat template."""

import copy
import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers

from turnwise.core.errors import ModelNotFound, UserError
from turnwise.core.files import atomic_write
from turnwise.text.rendering.demonstrations import Demonstrations
from turnwise.text.tokenization.backend import call_backend, copy_sharing_components, decode_ids, encode_text
from turnwise.text.tokenization.backend_loader import load_backend
from turnwise.text.tokenization.demonstrations_file import read_demonstrations, write_demonstrations
from turnwise.text.tokenization.encoding import Encoding, LazyOffsets, TooManyTokens
from turnwise.text.tokenization.text_start import encode_start, find_cut_pattern
from turnwise.text.tokenization.tokenizer_config import (
    config_to_save,
    read_chat_template,
    read_stop_ids,
    read_tokenizer_config,
)

TOKENIZER_FILE = "tokenizer.json"
_SURROGATES = re.compile("[\ud800-\udfff]")  # unpaired surrogates, which JSON can contain and UTF-8 cannot
NUM_PROBED_IDS = 512  # the first ids of a vocabulary are special tokens and characters
MASK_TOKEN = "<|mask|>"  # noqa: S105 (not a password); mask token that masked language modelling adds


@dataclass
class Tokenizer:
    """Converts text to token ids and back.

    Attributes:
        backend: tokenizer of the `tokenizers` library.
        special_tokens_map: named special tokens (`bos_token`, `eos_token`, …) as text, for templates.
        chat_template: Jinja template of the folder, or None.
        stop_ids: ids that end a response. The end-of-text id is added.
        config: `tokenizer_config.json` of the folder.
        demonstrations: dialogues that are added to every prompt.
        special_ids: ids of all special tokens.
        special_tokens: texts of all special tokens, longest first.
        bos_ids: ids that the tokenizer itself puts before a text.
        added_ids: ids that the tokenizer itself puts before and after a text, whatever they are.
    """

    backend: tokenizers.Tokenizer
    special_tokens_map: dict[str, str] = field(default_factory=dict)
    chat_template: str | None = None
    stop_ids: frozenset[int] = frozenset()
    config: dict[str, Any] = field(default_factory=dict)
    demonstrations: Demonstrations | None = None

    def __post_init__(self) -> None:
        added_tokens = self.backend.get_added_tokens_decoder()
        self.special_ids = frozenset(id for id, token in added_tokens.items() if token.special)
        self.special_tokens = tuple(
            sorted((added_tokens[id].content for id in self.special_ids), key=len, reverse=True)
        )
        # Callers pad and truncate; the settings of the folder must not do it silently.
        self.backend.no_padding()
        self.backend.no_truncation()
        # A post-processor adds tokens and trims offsets. It is removed here, and saved with the tokenizer.
        self._post_processor = self.backend.post_processor
        self.added_ids = self._find_added_ids()
        self.bos_ids = tuple(itertools.takewhile(lambda id: id in self.special_ids, self.added_ids[0]))
        self.backend.post_processor = None
        self._has_normalized_special = any(token.special and token.normalized for token in added_tokens.values())
        if (eos_token_id := self.eos_token_id) is not None:
            self.stop_ids |= {eos_token_id}

    def _find_added_ids(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The ids that the post-processor puts around a text; nothing if no text has ids."""
        first_ids = itertools.islice(sorted(self.backend.get_vocab().values()), NUM_PROBED_IDS)
        for text in itertools.chain(("a",), (decode_ids(self.backend, [id], True) for id in first_ids)):
            try:
                encoding = call_backend("", lambda: self.backend.encode(text, add_special_tokens=True))  # noqa: B023
            except UserError:  # the vocabulary has no token for this text
                continue
            is_added, ids = encoding.special_tokens_mask, encoding.ids
            if not all(is_added):
                first = is_added.index(0)
                last = len(ids) - is_added[::-1].index(0)
                return tuple(ids[:first]), tuple(ids[last:])
        return (), ()

    @property
    def vocab_size(self) -> int:
        """Number of ids: the highest id plus one. There may be unused ids below added tokens."""
        max_added_id = max(self.backend.get_added_tokens_decoder(), default=-1)
        return max(self.backend.get_vocab_size(with_added_tokens=True), max_added_id + 1)

    @property
    def pad_token_id(self) -> int:
        """Id for padding. Padding is masked, so without a padding token another id is used."""
        pad_token_id = self._named_token_id("pad_token")
        return pad_token_id if pad_token_id is not None else next(iter(sorted(self.stop_ids)), 0)

    @property
    def eos_token_id(self) -> int | None:
        """Id of the end-of-text token."""
        return self._named_token_id("eos_token")

    @property
    def mask_token_id(self) -> int | None:
        """Id of the mask token."""
        if "mask_token" in self.special_tokens_map:
            return self._named_token_id("mask_token")
        return self.token_to_id(MASK_TOKEN)

    def _named_token_id(self, name: str) -> int | None:
        token = self.special_tokens_map.get(name)
        return None if token is None else self.token_to_id(token)

    def with_special_tokens(self, tokens: Sequence[str]) -> "Tokenizer":
        """A tokenizer with these additional special tokens, after all others. It may share the backend."""
        new = [token for token in tokens if self.token_to_id(token) is None]
        if not new:
            return self
        backend = tokenizers.Tokenizer.from_str(self.backend.to_str())
        backend.post_processor = self._post_processor
        backend.add_special_tokens(new)
        mask = {"mask_token": MASK_TOKEN} if MASK_TOKEN in new else {}
        return Tokenizer(
            backend,
            self.special_tokens_map | mask,
            self.chat_template,
            self.stop_ids,
            self.config | mask,
            self.demonstrations,
        )

    def with_chat_template(self, chat_template: str) -> "Tokenizer":
        """A tokenizer with this chat template. It shares the backend."""
        copied = copy.copy(self)
        copied.chat_template = chat_template
        return copied

    def token_to_id(self, token: str) -> int | None:
        """Id of the token with exactly this text, or None."""
        return self.backend.token_to_id(token)

    def encode(self, text: str, *, allow_special: bool = False, max_tokens: int | None = None) -> list[int]:
        """Ids of `text`, without added start or end tokens.

        Args:
            text: text to encode.
            allow_special: recognize special tokens in the text. Default: their text is plain text.
            max_tokens: maximum number of ids. Default: no maximum.

        Raises:
            TooManyTokens: there are more than `max_tokens`.
        """
        return self._encode(text, allow_special, max_tokens).ids

    def encode_start(self, text: str, max_ids: int) -> tuple[list[int], bool]:
        """The first `max_ids` ids of `text` as from `encode`, and whether it has more.

        Of a long text only the start is tokenized, if the tokenizer allows it (`text_start.py`).
        """
        return encode_start(self.encode, self._cut_pattern, text, max_ids)

    @cached_property
    def _cut_pattern(self) -> re.Pattern[str] | None:
        return find_cut_pattern(self.backend)

    def encode_with_offsets(self, text: str, *, allow_special: bool = False, max_tokens: int | None = None) -> Encoding:
        """Ids of `text` with their character offsets. Arguments and errors as in `encode`."""
        encoding = self._encode(text, allow_special, max_tokens)
        return Encoding(encoding.ids, LazyOffsets(encoding))

    def _encode(self, text: str, allow_special: bool, max_tokens: int | None) -> tokenizers.Encoding:
        if not text.isascii():
            text = _SURROGATES.sub("\ufffd", text)
        backend = self.backend if allow_special or not self._may_contain_special(text) else self._plain_text_backend
        encoding = call_backend("The model's tokenizer fails on this text", lambda: encode_text(backend, text))
        if max_tokens is not None and len(encoding) > max_tokens:
            raise TooManyTokens(len(encoding), is_exact=True)
        return encoding

    def _may_contain_special(self, text: str) -> bool:
        # A normalizer may turn other text into a special token, which a comparison of texts does not detect.
        return self._has_normalized_special or any(token in text for token in self.special_tokens)

    @cached_property
    def _plain_text_backend(self) -> tokenizers.Tokenizer:
        """A copy of the backend that does not recognize special tokens. Switching one backend would need a lock."""
        backend = copy_sharing_components(self.backend) or tokenizers.Tokenizer.from_str(self.backend.to_str())
        backend.encode_special_tokens = True
        return backend

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Text of `ids`. Incomplete characters become U+FFFD; `IncrementalDetokenizer` waits for their other bytes."""
        return call_backend(
            "The model's tokenizer fails on these tokens",
            lambda: decode_ids(self.backend, list(ids), skip_special_tokens),
        )

    @classmethod
    def load(cls, folder: Path | str, base: Path | None = None) -> "Tokenizer":
        """Load the tokenizer of a Hugging Face folder.

        `tokenizer.json` is loaded directly. `vocab.json` with `merges.txt` is loaded as byte-level BPE. Older formats
        (SentencePiece, WordPiece) are converted with transformers, if it is installed.

        Args:
            folder: the model folder.
            base: folder of the base model, if `folder` holds an adapter. An adapter without `tokenizer.json` has the
                tokenizer of its base. Its own chat template, stop ids and demonstrations replace those of the base.

        Raises:
            ModelNotFound: the folder does not exist or contains no tokenizer.
            UserError: a file is damaged, or exceeds the limits for tokenizers.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise ModelNotFound(f"There is no folder {folder}.")
        source = folder if base is None or (folder / TOKENIZER_FILE).is_file() else base
        config, special_tokens_map = read_tokenizer_config(source)
        own_config = config if source == folder else read_tokenizer_config(folder)[0]
        chat_template = read_chat_template(folder, own_config)
        return cls(
            backend=load_backend(source, special_tokens_map, config),
            special_tokens_map=special_tokens_map,
            chat_template=read_chat_template(source, config) if chat_template is None else chat_template,
            stop_ids=read_stop_ids(folder) or read_stop_ids(source),
            config=config,
            demonstrations=read_demonstrations(folder) or read_demonstrations(source),
        )

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json`, `tokenizer_config.json` and `chat_template.jinja` in the format of transformers."""
        folder.mkdir(parents=True, exist_ok=True)
        backend = tokenizers.Tokenizer.from_str(self.backend.to_str())
        backend.post_processor = self._post_processor
        atomic_write(folder / TOKENIZER_FILE, backend.to_str(pretty=False))
        config = config_to_save(self.config) | self.special_tokens_map
        atomic_write(folder / "tokenizer_config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n")
        if self.chat_template is not None:
            atomic_write(folder / "chat_template.jinja", self.chat_template)
        if self.demonstrations is not None:
            write_demonstrations(folder, self.demonstrations)
