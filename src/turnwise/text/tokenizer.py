"""A tokenizer of any Hugging Face folder: text to ids and back, with its special tokens and its chat template."""

import itertools
import json
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers

from turnwise.core.errors import ModelNotFound, UserError
from turnwise.core.files import write_file
from turnwise.core.messages import Message
from turnwise.text.demonstrations import Demonstrations

_SURROGATES = re.compile("[\ud800-\udfff]")  # halves of characters, which JSON can spell and UTF-8 cannot

# Token names a template may use, as in `{{ bos_token }}`.
NAMED = ("bos_token", "eos_token", "pad_token", "unk_token", "mask_token")
DEMONSTRATIONS = "demonstrations.json"
MASK = "<|mask|>"  # what stands for a hidden token, in tokenizers of ours that need one


@dataclass(frozen=True, slots=True)
class Encoding:
    """Ids and, for each, the characters `[start, end)` of the text it came from."""

    ids: list[int]
    offsets: list[tuple[int, int]]


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
    named: dict[str, str] = field(default_factory=dict)
    chat_template: str | None = None
    stop_ids: frozenset[int] = frozenset()
    config: dict[str, Any] = field(default_factory=dict)
    demonstrations: Demonstrations | None = None

    def __post_init__(self) -> None:
        self._switch = threading.Lock()  # whether special tokens are special is a switch on the shared backend
        added = self.backend.get_added_tokens_decoder()
        self.special_ids = frozenset(id for id, token in added.items() if token.special)
        self.special_texts = tuple(sorted((added[id].content for id in self.special_ids), key=len, reverse=True))
        # Batches are padded and dialogues cut by those who know why, never silently by what a folder asks for.
        self.backend.no_padding()
        self.backend.no_truncation()
        # It would add a beginning and take spaces out of offsets. It is kept for the folder, where others may want it.
        self._post_processor = self.backend.post_processor
        self.backend.post_processor = None
        eos = self.id_of(self.named["eos_token"]) if "eos_token" in self.named else None
        if eos is not None:
            self.stop_ids |= {eos}

    @property
    def vocab_size(self) -> int:
        """Ids run from 0 to this, exclusive."""
        highest = max(self.backend.get_added_tokens_decoder(), default=-1)  # added ids may leave a gap below them
        return max(self.backend.get_vocab_size(with_added_tokens=True), highest + 1)

    @property
    def pad_id(self) -> int:
        """An id to fill batches with; it is masked everywhere, so any will do."""
        if (pad := self.named.get("pad_token")) and (known := self.id_of(pad)) is not None:
            return known
        return next(iter(sorted(self.stop_ids)), 0)

    @property
    def eos_id(self) -> int | None:
        """The id that ends a text."""
        return self.id_of(self.named["eos_token"]) if "eos_token" in self.named else None

    @property
    def mask_id(self) -> int | None:
        """The id that stands for a hidden token, where there is one."""
        return self.id_of(self.named["mask_token"]) if "mask_token" in self.named else self.id_of(MASK)

    def with_special(self, texts: Sequence[str]) -> "Tokenizer":
        """The same tokenizer with these special tokens as well, after all others; it may share the backend."""
        new = [text for text in texts if self.id_of(text) is None]
        if not new:
            return self
        backend = tokenizers.Tokenizer.from_str(self.backend.to_str())
        backend.post_processor = self._post_processor
        backend.add_special_tokens(new)
        named = self.named | ({"mask_token": MASK} if MASK in new else {})
        config = self.config | ({"mask_token": MASK} if MASK in new else {})
        return Tokenizer(backend, named, self.chat_template, self.stop_ids, config, self.demonstrations)

    def id_of(self, token: str) -> int | None:
        """The id of one token's exact text, or None."""
        return self.backend.token_to_id(token)

    @cached_property
    def opening_ids(self) -> tuple[int, ...]:
        """What the tokenizer itself puts before any text, such as the token for its beginning."""
        with self._switch:
            self.backend.post_processor = self._post_processor
            try:
                encoded = self.backend.encode("a", add_special_tokens=True)
            finally:
                self.backend.post_processor = None
        return tuple(itertools.takewhile(lambda id: id in self.special_ids, encoded.ids))

    def encode(self, text: str, *, allow_special: bool = False) -> list[int]:
        """Ids of `text`. Text that spells a special token stays text unless `allow_special` is set."""
        return self._encode(text, allow_special).ids

    def encode_offsets(self, text: str, *, allow_special: bool = False) -> Encoding:
        """Ids of `text` with the characters each came from. No beginning or end tokens are added."""
        encoded = self._encode(text, allow_special)
        return Encoding(encoded.ids, encoded.offsets)

    def _encode(self, text: str, allow_special: bool) -> tokenizers.Encoding:
        text = _SURROGATES.sub("\ufffd", text)
        with self._switch:
            self.backend.encode_special_tokens = not allow_special
            return self.backend.encode(text, add_special_tokens=False)

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """Text of `ids`. Bytes that are no character yet come out as U+FFFD; `text.stream` waits for the rest."""
        return self.backend.decode(list(ids), skip_special_tokens=skip_special)

    @classmethod
    def load(cls, folder: Path | str) -> "Tokenizer":
        """The tokenizer of a Hugging Face folder.

        `tokenizer.json` is read directly, `vocab.json` with `merges.txt` becomes byte-level BPE, and anything older
        (SentencePiece, WordPiece) is converted by transformers where that is installed.

        Raises:
            ModelNotFound: the folder does not exist or holds no tokenizer.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise ModelNotFound(f"There is no folder {folder}.")
        config = _read_json(folder / "tokenizer_config.json")
        named = {name: _token_text(config[name]) for name in NAMED if config.get(name)}
        special_map = _read_json(folder / "special_tokens_map.json")
        named = {name: _token_text(special_map[name]) for name in NAMED if special_map.get(name)} | named
        return cls(
            backend=_load_backend(folder, named, config),
            named=named,
            chat_template=_load_template(folder, config),
            stop_ids=_generation_stop_ids(folder),
            config=config,
            demonstrations=_load_demonstrations(folder),
        )

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json`, `tokenizer_config.json` and `chat_template.jinja` as transformers reads them."""
        folder.mkdir(parents=True, exist_ok=True)
        with self._switch:
            self.backend.post_processor = self._post_processor
            written = self.backend.to_str(pretty=False)
            self.backend.post_processor = None
        write_file(folder / "tokenizer.json", written)
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
        config |= {key: value for key, value in self.config.items() if key not in ("chat_template", "auto_map")}
        config |= self.named
        write_file(folder / "tokenizer_config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n")
        if self.chat_template is not None:
            write_file(folder / "chat_template.jinja", self.chat_template)
        if self.demonstrations is not None:
            dialogues = [[message.as_dict() for message in dialogue] for dialogue in self.demonstrations.dialogues]
            kept = {"shots": self.demonstrations.shots, "dialogues": dialogues}
            write_file(folder / DEMONSTRATIONS, json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not readable JSON: {error}.") from error
    if not isinstance(loaded, dict):
        raise UserError(f"{path} should hold a JSON object.")
    return loaded


def _token_text(token: str | dict[str, Any]) -> str:
    """Configs write a token as its text or as an object with `content`."""
    return token if isinstance(token, str) else str(token["content"])


def _load_backend(folder: Path, named: dict[str, str], config: dict[str, Any]) -> tokenizers.Tokenizer:
    if (path := folder / "tokenizer.json").is_file():
        try:
            return tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise UserError(f"{path} is not a tokenizer this version can read: {error}.") from error
    pair = (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file()
    # Others that ship this pair split text into words in ways of their own.
    if pair and config.get("tokenizer_class", "GPT2Tokenizer").removesuffix("Fast") == "GPT2Tokenizer":
        return _byte_level_bpe(folder, named, config)
    return _convert_with_transformers(folder)


def _byte_level_bpe(folder: Path, named: dict[str, str], config: dict[str, Any]) -> tokenizers.Tokenizer:
    """GPT-2's own file pair, as DialoGPT and older checkpoints ship it."""
    try:
        model = tokenizers.models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    except Exception as error:  # the library raises bare Exception
        raise UserError(f"vocab.json and merges.txt in {folder} cannot be read: {error}.") from error
    backend = tokenizers.Tokenizer(model)
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
    try:
        converted = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        backend: tokenizers.Tokenizer = converted.backend_tokenizer
    except Exception as error:  # any, by the format and what is installed
        raise UserError(f"transformers cannot convert the tokenizer in {folder}: {error}.") from error
    return backend


def _load_template(folder: Path, config: dict[str, Any]) -> str | None:
    if (path := folder / "chat_template.jinja").is_file():
        return path.read_text(encoding="utf-8")
    template = config.get("chat_template") or _read_json(folder / "chat_template.json").get("chat_template")
    if isinstance(template, list):  # several named templates: the default one is for chatting
        template = next((entry["template"] for entry in template if entry.get("name") == "default"), None)
    return template


def _load_demonstrations(folder: Path) -> Demonstrations | None:
    kept = _read_json(folder / DEMONSTRATIONS)
    if not kept:
        return None
    try:
        dialogues = tuple(tuple(Message(m["role"], m["content"]) for m in dialogue) for dialogue in kept["dialogues"])
        return Demonstrations(dialogues, int(kept["shots"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder / DEMONSTRATIONS} does not hold demonstrations: {error}.") from error


def _generation_stop_ids(folder: Path) -> frozenset[int]:
    eos = _read_json(folder / "generation_config.json").get("eos_token_id")
    if eos is None:
        eos = _read_json(folder / "config.json").get("eos_token_id")
    if eos is None:
        return frozenset()
    return frozenset([eos] if isinstance(eos, int) else eos)
