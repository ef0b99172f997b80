"""Converts the tokenizer of a GGUF file to the files of a Hugging Face folder. Does not import torch.

Two kinds: byte-level BPE ("gpt2"), whose rule for splitting is named in the file, and BPE of SentencePiece ("llama"),
which merges by scores and has no list of merges.
"""

from collections.abc import Callable, Iterator
from typing import Any

from turnwise.core.errors import UserError
from turnwise.core.json_file import preview
from turnwise.models.gguf.header import GgufHeader
from turnwise.models.gguf.metadata import GgufMetadata
from turnwise.models.gguf.pre_tokenizers import PRE_TOKENIZERS
from turnwise.models.gguf.vocabulary import NORMAL, USER_DEFINED, Vocabulary

SPACE = "\u2581"  # SentencePiece writes a space as "▁"
MAX_MERGES_PER_TOKEN = 16  # Llama 3 has 2: pairs that make the same token
MAX_MERGED_CHARACTERS = 128  # a longer token of SentencePiece is not made by merging; its default limit is 16
COMPONENTS: dict[str, Any] = {"version": "1.0", "truncation": None, "padding": None}


def convert_tokenizer(header: GgufHeader, vocabulary: Vocabulary) -> dict[str, Any]:
    """The content of `tokenizer.json`.

    Raises:
        UserError: the kind of tokenizer or its rule for splitting is not supported, or a merge does not fit the tokens.
    """
    metadata = GgufMetadata(header)
    kind = metadata.text("tokenizer.ggml.model")
    if kind not in CONVERTERS:
        raise UserError(
            f"{header.path} has a tokenizer of the kind {preview(kind)}, which is not supported; "
            f"supported: {', '.join(CONVERTERS)}."
        )
    return CONVERTERS[kind](header, metadata, vocabulary)


def convert_tokenizer_config(header: GgufHeader, vocabulary: Vocabulary) -> dict[str, Any]:
    """The content of `tokenizer_config.json`."""
    roles = {"bos": vocabulary.bos, "eos": vocabulary.eos, "pad": vocabulary.pad, "unk": vocabulary.unk}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": GgufMetadata(header).integer("{arch}.context_length"),
        **{f"{role}_token": vocabulary.tokens[id] for role, id in roles.items() if id is not None},
    }


def _convert_byte_level(header: GgufHeader, metadata: GgufMetadata, vocabulary: Vocabulary) -> dict[str, Any]:
    name = metadata.text("tokenizer.ggml.pre", "default") or "default"
    rule = PRE_TOKENIZERS.get(name)
    if rule is None:
        raise UserError(
            f"{header.path}: the pre-tokenizer {preview(name)} is not supported; "
            f"supported: {', '.join(sorted(PRE_TOKENIZERS))}."
        )
    splits = [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        for pattern in rule.patterns
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {
        **COMPONENTS,
        "added_tokens": _added_tokens(vocabulary),
        "normalizer": {"type": "NFC"} if rule.is_nfc else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*splits, byte_level]},
        "post_processor": _post_processor(metadata, vocabulary, adds_bos=rule.adds_bos),
        "decoder": byte_level,
        "model": _bpe(vocabulary, list(_read_merges(header, metadata, vocabulary)), ignore_merges=rule.ignore_merges),
    }


def _read_merges(header: GgufHeader, metadata: GgufMetadata, vocabulary: Vocabulary) -> Iterator[tuple[str, str]]:
    """Pairs of tokens in the order of merging. Of equal pairs only the first counts."""
    tokens, seen = set(vocabulary.tokens), set()
    for merge in metadata.texts("tokenizer.ggml.merges", MAX_MERGES_PER_TOKEN * len(tokens)):
        split = merge.find(" ", 1)  # the first character may be a space itself
        first, second = merge[:split], merge[split + 1 :]
        if split < 0 or not {first, second, first + second} <= tokens:
            raise UserError(f"{header.path}: the merge {preview(merge)} does not join two tokens to a third.")
        if (first, second) not in seen:
            seen.add((first, second))
            yield first, second


def _convert_sentencepiece(header: GgufHeader, metadata: GgufMetadata, vocabulary: Vocabulary) -> dict[str, Any]:
    if not vocabulary.scores:
        raise UserError(f"{header.path} lacks the metadata 'tokenizer.ggml.scores'.")
    has_prefix = metadata.flag("tokenizer.ggml.add_space_prefix", True)
    to_space = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    prefix = [{"type": "Prepend", "prepend": SPACE}] if has_prefix else []
    strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if has_prefix else []
    from_space = {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}
    return {
        **COMPONENTS,
        "added_tokens": _added_tokens(vocabulary),
        "normalizer": {"type": "Sequence", "normalizers": [*prefix, to_space]},
        "pre_tokenizer": None,
        "post_processor": _post_processor(metadata, vocabulary, adds_bos=True),
        "decoder": {
            "type": "Sequence",
            "decoders": [from_space, {"type": "ByteFallback"}, {"type": "Fuse"}, *strip],
        },
        "model": _bpe(vocabulary, _merges_by_score(vocabulary), byte_fallback=True),
    }


def _merges_by_score(vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """All pairs of tokens that make a third, best score first: SentencePiece merges by the score of the result.

    As in SentencePiece, no pair makes a control token: the text "<s>" in a message stays text.
    """
    ids = {
        token: id
        for id, token in enumerate(vocabulary.tokens)
        if vocabulary.types[id] in (NORMAL, USER_DEFINED) and id not in vocabulary.special_ids
    }
    merges: list[tuple[float, int, int, str, str]] = []
    for token, id in ids.items():
        if len(token) > MAX_MERGED_CHARACTERS:
            continue
        for split in range(len(token) - 1, 0, -1):
            first, second = token[:split], token[split:]
            if first in ids and second in ids:
                merges.append((-vocabulary.scores[id], id, len(merges), first, second))
    return [(first, second) for *_, first, second in sorted(merges)]


CONVERTERS: dict[str, Callable[[GgufHeader, GgufMetadata, Vocabulary], dict[str, Any]]] = {
    "gpt2": _convert_byte_level, "llama": _convert_sentencepiece,
}  # fmt: skip


def _bpe(vocabulary: Vocabulary, merges: list[tuple[str, str]], **switches: bool) -> dict[str, Any]:
    """The model of `tokenizer.json`. All tokens are in its vocabulary, so that all keep their ids."""
    unk = vocabulary.tokens[vocabulary.unk] if vocabulary.unk is not None and switches.get("byte_fallback") else None
    return {
        "type": "BPE", "dropout": None, "unk_token": unk, "continuing_subword_prefix": None,
        "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": False, "ignore_merges": False, **switches,
        "vocab": {token: id for id, token in enumerate(vocabulary.tokens)}, "merges": merges,
    }  # fmt: skip


def _added_tokens(vocabulary: Vocabulary) -> list[dict[str, Any]]:
    """The tokens that are recognized in a text before it is split: special ones only where they are allowed."""
    return [
        {
            "id": id, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
            "special": id in vocabulary.special_ids,
        }
        for id, token in enumerate(vocabulary.tokens)
        if token and (id in vocabulary.special_ids or vocabulary.types[id] == USER_DEFINED)
    ]  # fmt: skip


def _post_processor(metadata: GgufMetadata, vocabulary: Vocabulary, *, adds_bos: bool) -> dict[str, Any] | None:
    """Adds the tokens at the ends of a text, if the file says so."""
    bos = vocabulary.bos if metadata.flag("tokenizer.ggml.add_bos_token", adds_bos) else None
    eos = vocabulary.eos if metadata.flag("tokenizer.ggml.add_eos_token", False) else None
    if bos is None and eos is None:
        return None
    texts = {id: vocabulary.tokens[id] for id in (bos, eos) if id is not None}

    def piece(id: int | None, type_id: int) -> list[dict[str, Any]]:
        return [] if id is None else [{"SpecialToken": {"id": texts[id], "type_id": type_id}}]

    single = [*piece(bos, 0), {"Sequence": {"id": "A", "type_id": 0}}, *piece(eos, 0)]
    second = [*piece(bos, 1), {"Sequence": {"id": "B", "type_id": 1}}, *piece(eos, 1)]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, *second],
        "special_tokens": {text: {"id": text, "ids": [id], "tokens": [text]} for id, text in texts.items()},
    }
