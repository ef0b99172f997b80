"""Writes a tokenizer and a chat template to a GGUF file: the inverse of `tokenizer.py`. Byte-level BPE only."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gguf

from turnwise.core.errors import UserError
from turnwise.models.gguf.pre_tokenizers import DIGIT, GPT2, PRE_TOKENIZERS
from turnwise.models.gguf.vocabulary import CONTROL, END_TOKENS, NORMAL, UNUSED, USER_DEFINED

# Expressions that split almost every text as one of llama.cpp's does. Turnwise's own differs from Qwen 2's in capital
# letters after an apostrophe only ('TIS is one piece, not two).
EQUIVALENT_PATTERNS = {
    r"'(?:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+":
    PRE_TOKENIZERS["qwen2"].patterns[0],
}  # fmt: skip
ROLES = ("bos", "eos", "pad", "unk")  # of named tokens
STOP_ROLES = ("eos", "eot", "eom")  # end of sequence, of a turn and of a message; each of them ends an answer


@dataclass(frozen=True, slots=True)
class GgufTokenizer:
    """The values of a tokenizer that a file is written from.

    Attributes:
        content: content of `tokenizer.json`; its post-processor is not used.
        role_ids: ids of named tokens by role, such as "bos" (`ROLES`).
        prefix_ids: ids that the tokenizer puts before every text.
        suffix_ids: ids that the tokenizer puts behind every text.
        stop_ids: ids that end an answer.
        chat_template: the template, or None.
    """

    content: Mapping[str, Any]
    role_ids: Mapping[str, int]
    prefix_ids: tuple[int, ...]
    suffix_ids: tuple[int, ...]
    stop_ids: Collection[int]
    chat_template: str | None


def write_tokenizer(writer: gguf.GGUFWriter, tokenizer: GgufTokenizer, vocab_size: int) -> None:
    """Add a tokenizer.

    Args:
        writer: the file.
        tokenizer: the tokenizer.
        vocab_size: rows of the embedding; ids without a token are filled.

    Raises:
        UserError: llama.cpp has no such tokenizer.
    """
    content = tokenizer.content
    model = content.get("model") or {}
    if model.get("type", "BPE") != "BPE" or "ByteLevel" not in _types(content, "pre_tokenizer"):
        raise UserError("Only byte-level BPE can be written to a GGUF file; the model's tokenizer is of another kind.")
    name = pre_tokenizer_name(content)
    if name is None:
        normalizers = _types(content, "normalizer")
        condition = f" after the normalizer {' and '.join(normalizers)}" if normalizers else ""
        raise UserError(
            f"llama.cpp has no rule that splits texts as this tokenizer does{condition}. It would read other tokens."
        )
    tokens, types = _tokens_by_id(model.get("vocab") or {}, content.get("added_tokens") or [], vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(name)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in model.get("merges", ())])
    for role, id in _role_ids(tokenizer, tokens).items():
        getattr(writer, f"add_{role}_token_id")(id)
    writer.add_add_bos_token(bool(tokenizer.prefix_ids))
    if tokenizer.suffix_ids:
        writer.add_add_eos_token(True)
    writer.add_add_space_prefix(False)
    if tokenizer.chat_template is not None:
        writer.add_chat_template(tokenizer.chat_template)


def pre_tokenizer_name(content: Mapping[str, Any]) -> str | None:
    """llama.cpp's name of the rule by which a tokenizer normalizes and splits texts, or None if it has none.

    Args:
        content: content of `tokenizer.json`.
    """
    patterns = tuple(EQUIVALENT_PATTERNS.get(pattern, pattern) for pattern in _patterns(content))
    normalizers = _types(content, "normalizer")
    if normalizers not in ([], ["NFC"]):
        return None
    ignores_merges = bool((content.get("model") or {}).get("ignore_merges"))
    for name, rule in PRE_TOKENIZERS.items():
        if (rule.patterns, rule.is_nfc, rule.ignore_merges) == (patterns, bool(normalizers), ignores_merges):
            return name
    return None


def _patterns(content: Mapping[str, Any]) -> Iterator[str]:
    """Regular expressions of a pre-tokenizer, in order. An unsupported component gives an expression that fits none."""
    for component in _components(content.get("pre_tokenizer")):
        kind = component.get("type")
        if kind == "Split" and component.get("behavior") == "Isolated" and not component.get("invert"):
            yield (component.get("pattern") or {}).get("Regex", "")
        elif kind == "Digits" and component.get("individual_digits"):
            yield DIGIT
        elif kind == "ByteLevel" and not component.get("add_prefix_space"):
            if component.get("use_regex", True):
                yield GPT2
        else:
            yield f"unsupported: {kind}"


def _types(content: Mapping[str, Any], key: str) -> list[str]:
    return [str(component.get("type")) for component in _components(content.get(key))]


def _components(component: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """A normalizer or pre-tokenizer, or those of a sequence in order."""
    if component and component.get("type") == "Sequence":
        for inner in component.get("normalizers") or component.get("pretokenizers") or ():
            yield from _components(inner)
    elif component:
        yield component


def _role_ids(tokenizer: GgufTokenizer, tokens: Sequence[str]) -> dict[str, int]:
    """Ids by the roles of the format: named tokens, and tokens that end an answer.

    Readers also find the tokens of `END_TOKENS` by their text, so these get a role only if one is left.
    """
    role_ids = {role: id for role in ROLES if (id := tokenizer.role_ids.get(role)) is not None and id < len(tokens)}
    if len(tokenizer.prefix_ids) == 1:
        role_ids.setdefault("bos", tokenizer.prefix_ids[0])
    ends = ((role_ids.get("bos"), tokenizer.prefix_ids), (role_ids.get("eos"), tokenizer.suffix_ids))
    if any(ids not in ((), (id,)) for id, ids in ends):
        raise UserError(
            "A GGUF file can put one BOS token before every text and one EOS token behind it; "
            "this tokenizer adds others."
        )
    stop_ids = {id for id in tokenizer.stop_ids if id < len(tokens)}  # the model cannot generate others
    ids = sorted(stop_ids - {role_ids.get("eos")}, key=lambda id: (tokens[id] in END_TOKENS, id))
    roles = [role for role in STOP_ROLES if role not in role_ids]
    if any(tokens[id] not in END_TOKENS for id in ids[len(roles) :]):
        named = ", ".join(repr(tokens[id]) for id in sorted(stop_ids))
        raise UserError(
            f"{len(stop_ids)} tokens end an answer of this model ({named}), and a GGUF file can name "
            f"{len(STOP_ROLES)}. List fewer as 'eos_token_id' in generation_config.json."
        )
    return role_ids | dict(zip(roles, ids, strict=False))


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
