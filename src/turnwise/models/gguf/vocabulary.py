"""The vocabulary of a GGUF file: tokens with their types and scores, and the ids with a role. Does not import torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from turnwise.core.errors import UserError
from turnwise.core.json_file import preview
from turnwise.models.gguf.header import GgufHeader
from turnwise.models.gguf.metadata import GgufMetadata

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # types of the format
MAX_TOKENS = 2**22  # limit of `Tokenizer.load`
MAX_TOKEN_CHARACTERS = 1024  # the longest token of a published vocabulary has about 250
# Many files name only one of the tokens that end an answer; the model then never stops. llama.cpp knows these texts.
END_TOKENS = frozenset({
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|eom_id|>", "<|end_of_text|>", "<EOT>",
    "<｜end▁of▁sentence｜>",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens by id.

    Attributes:
        tokens: texts; those of byte-level BPE in its alphabet.
        types: types of the format.
        scores: scores of SentencePiece; empty for byte-level BPE.
        bos: id of the token that begins a text, or None; `eos`, `pad` and `unk` likewise.
        stop_ids: ids that end an answer.
        special_ids: ids of control tokens, and of tokens whose role makes them such, whatever their type says.
    """

    tokens: Sequence[str]
    types: Sequence[int]
    scores: Sequence[float]
    bos: int | None
    eos: int | None
    pad: int | None
    unk: int | None
    stop_ids: tuple[int, ...]
    special_ids: frozenset[int]


def read_vocabulary(header: GgufHeader, num_rows: int) -> Vocabulary:
    """Read the vocabulary.

    Args:
        header: the header of the file.
        num_rows: number of rows of the token embedding, which is the maximum number of tokens.

    Raises:
        UserError: a list is missing, has another length than the tokens, or two tokens are equal.
    """
    metadata, path = GgufMetadata(header), header.path
    tokens = metadata.texts("tokenizer.ggml.tokens", min(num_rows, MAX_TOKENS))
    if not tokens:
        raise UserError(f"{path} has no tokens.")
    if longest := next((token for token in tokens if len(token) > MAX_TOKEN_CHARACTERS), None):
        raise UserError(
            f"{path} has a token of {len(longest):,} characters; at most {MAX_TOKEN_CHARACTERS:,} are supported."
        )
    _reject_equal_tokens(header, tokens)
    types = metadata.numbers("tokenizer.ggml.token_type", len(tokens)) or [NORMAL] * len(tokens)
    scores = metadata.numbers("tokenizer.ggml.scores", len(tokens))
    if not all(math.isfinite(score) for score in scores):
        raise UserError(f"{path}: a score of a token is not a finite number.")

    def token_id(role: str, default: int | None = None) -> int | None:
        value = metadata.optional_integer(f"tokenizer.ggml.{role}_token_id")
        value = default if value is None else value
        return value if value is not None and value < len(tokens) else None  # llama.cpp ignores others as well

    is_sentencepiece = metadata.text("tokenizer.ggml.model") == "llama"
    defaults = {"bos": 1, "eos": 2, "unknown": 0} if is_sentencepiece else {}
    bos, eos, unk = (token_id(role, defaults.get(role)) for role in ("bos", "eos", "unknown"))
    ends = [id for id, token in enumerate(tokens) if token in END_TOKENS and types[id] != UNUSED]
    named = [id for id in (eos, token_id("eot"), token_id("eom")) if id is not None]
    stop_ids = tuple(dict.fromkeys(named + ends))
    special = {id for id, kind in enumerate(types) if kind in (CONTROL, UNKNOWN)}
    special_ids = frozenset(special.union(stop_ids, () if bos is None else (bos,)))
    return Vocabulary(tokens, types, scores, bos, eos, token_id("padding"), unk, stop_ids, special_ids)


def _reject_equal_tokens(header: GgufHeader, tokens: Sequence[str]) -> None:
    if len(set(tokens)) == len(tokens):
        return
    seen: dict[str, int] = {}
    for number, token in enumerate(tokens):
        if (first := seen.setdefault(token, number)) != number:
            raise UserError(f"{header.path}: the tokens {first:,} and {number:,} are both {preview(token)}.")
