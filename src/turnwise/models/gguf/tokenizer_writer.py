"""Writes a tokenizer and a chat template to a GGUF file: the inverse of `tokenizer.py`. Byte-level BPE only."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf

from turnwise.core.errors import UserError
from turnwise.core.json_file import read_json_object, read_optional_json_object
from turnwise.models.gguf.pre_tokenizers import DIGIT, GPT2, PRE_TOKENIZERS
from turnwise.models.gguf.vocabulary import CONTROL, NORMAL, UNUSED, USER_DEFINED

# Rules that split almost every text alike. Turnwise's own rule differs from Qwen 2's in capital letters after an
# apostrophe only ('TIS is one piece, not two).
EQUIVALENT_PATTERNS = {
    r"'(?:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+": "qwen2"
}
ROLES = {"bos_token": "bos", "eos_token": "eos", "pad_token": "pad", "unk_token": "unk"}


def write_tokenizer(writer: gguf.GGUFWriter, folder: Path, vocab_size: int, chat_template: str | None) -> None:
    """Add the tokenizer of a model folder.

    Args:
        writer: the file.
        folder: has `tokenizer.json`, and `tokenizer_config.json` for the named tokens.
        vocab_size: rows of the embedding; ids without a token are filled.
        chat_template: the template, or None.

    Raises:
        UserError: llama.cpp has no such tokenizer.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise UserError(f"{folder} has no tokenizer.json, which a GGUF file is written from.")
    content = read_json_object(path)
    model = content.get("model") or {}
    if model.get("type", "BPE") != "BPE" or not _is_byte_level(content):
        raise UserError(f"{path}: only byte-level BPE can be written to a GGUF file.")
    name = pre_tokenizer_name(content)
    if name is None:
        raise UserError(
            f"{path}: llama.cpp has no rule that splits texts as this tokenizer does. It would read other tokens."
        )
    tokens, types = _tokens_by_id(model.get("vocab") or {}, content.get("added_tokens") or [], vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(name)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in model.get("merges", ())])
    ids = {token: id for id, token in enumerate(tokens)}
    config = read_optional_json_object(folder / "tokenizer_config.json")
    for key, role in ROLES.items():
        token = config.get(key)
        token = token.get("content") if isinstance(token, dict) else token
        if token in ids:
            getattr(writer, f"add_{role}_token_id")(ids[token])
    generation = read_optional_json_object(folder / "generation_config.json")
    stop_ids = generation.get("eos_token_id")
    if isinstance(stop_ids, list) and stop_ids:
        eos = ids.get(str(config.get("eos_token")))
        writer.add_eot_token_id(next((id for id in stop_ids if id != eos), stop_ids[0]))
    writer.add_add_bos_token(_adds_bos(content))
    writer.add_add_space_prefix(False)
    if chat_template is not None:
        writer.add_chat_template(chat_template)


def pre_tokenizer_name(content: Mapping[str, Any]) -> str | None:
    """llama.cpp's name of the rule by which a tokenizer splits texts, or None if it has none.

    Args:
        content: content of `tokenizer.json`.
    """
    patterns = tuple(_patterns(content.get("pre_tokenizer") or {}))
    if patterns and patterns[0] in EQUIVALENT_PATTERNS:
        return EQUIVALENT_PATTERNS[patterns[0]]
    ignores_merges = bool((content.get("model") or {}).get("ignore_merges"))
    for name, rule in PRE_TOKENIZERS.items():
        if rule.patterns == patterns and rule.ignore_merges == ignores_merges:
            return name
    return None


def _patterns(component: Mapping[str, Any]) -> Iterator[str]:
    """Regular expressions of a pre-tokenizer, in order. An unsupported component gives an expression that fits none."""
    kind = component.get("type")
    if kind == "Sequence":
        for inner in component.get("pretokenizers") or ():
            yield from _patterns(inner)
    elif kind == "Split" and component.get("behavior") == "Isolated" and not component.get("invert"):
        yield (component.get("pattern") or {}).get("Regex", "")
    elif kind == "Digits" and component.get("individual_digits"):
        yield DIGIT
    elif kind == "ByteLevel" and not component.get("add_prefix_space"):
        if component.get("use_regex", True):
            yield GPT2
    else:
        yield f"unsupported: {kind}"


def _is_byte_level(content: Mapping[str, Any]) -> bool:
    return any('"ByteLevel"' in str(content.get(name)).replace("'", '"') for name in ("pre_tokenizer", "decoder"))


def _adds_bos(content: Mapping[str, Any]) -> bool:
    post_processor = content.get("post_processor") or {}
    single: Sequence[Any] = post_processor.get("single") or ()
    return bool(single) and isinstance(single[0], dict) and "SpecialToken" in single[0]


def _tokens_by_id(
    vocab: Mapping[str, int], added: Sequence[Mapping[str, Any]], vocab_size: int
) -> tuple[list[str], list[int]]:
    tokens = [f"<|unused_{id}|>" for id in range(vocab_size)]
    types = [UNUSED] * vocab_size
    for token, id in vocab.items():
        if 0 <= id < vocab_size:
            tokens[id], types[id] = token, NORMAL
    for entry in added:
        if 0 <= (id := entry["id"]) < vocab_size:
            tokens[id], types[id] = entry["content"], CONTROL if entry.get("special") else USER_DEFINED
    return tokens, types
