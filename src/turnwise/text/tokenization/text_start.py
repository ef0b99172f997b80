"""Encodes the start of a text without tokenizing all of it: a text of megabytes whose first 500 tokens are wanted.

The text is cut where no token crosses the cut, so that the ids of the start are the first ids of the text. Such a cut
exists for tokenizers that split texts into words before they split words into tokens; texts are tokenized completely by
other tokenizers, and if they have no such cut.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import tokenizers

CHARACTERS_PER_ID = 16  # more than a token has on average, so that the first cut is almost always late enough
MIN_CHARACTERS = 16_384  # tokenized in milliseconds

# Words do not cross white space that the tokenizer removes, nor Chinese characters that it splits one by one.
_REMOVED_SPACE = re.compile(r"(?<=\S)[ \t\r\n]")
_REMOVED_SPACE_OR_HAN = re.compile(r"(?<=\S)[ \t\r\n]|(?<=[\u4e00-\u9fff])(?=[\u4e00-\u9fff])")
_SPACE_OR_LINE_END = re.compile(r"(?<=[^\W_])[ \n]")  # after punctuation a line end may belong to its word
_SPACE = re.compile(r"(?<=[^\W_]) ")

_CONTRACTIONS = "'s|'t|'re|'ve|'m|'ll|'d"
_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BPE_PATTERN = r"'(?:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _TAIL
"""How `bpe_training` splits words: contractions; words with the space before them; single digits, so that a number has
only one tokenization; runs of punctuation; line breaks; other spaces."""
_WORD_PATTERNS = frozenset(
    {
        BPE_PATTERN,
        _CONTRACTIONS + r"| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",  # GPT-2
        rf"(?i:{_CONTRACTIONS})|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{_TAIL}",  # Qwen 2
        rf"(?i:{_CONTRACTIONS})|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}{_TAIL}",  # Llama 3
    }
)
_DIGIT_PATTERNS = frozenset({r"\p{N}", r"\p{N}{1,3}", r"\d"})
_LOCAL_NORMALIZERS = frozenset(
    {"BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled", "Prepend", "Strip",
     "StripAccents"}
)  # fmt: skip


def encode_start(
    encode: Callable[[str], list[int]], cut_pattern: re.Pattern[str] | None, text: str, max_ids: int
) -> tuple[list[int], bool]:
    """The first `max_ids` ids of a text, and whether the text has more.

    Args:
        encode: returns the ids of a text.
        cut_pattern: matches where the text may be cut; None: nowhere.
        text: the text.
        max_ids: maximum number of ids.
    """
    num_characters = max(MIN_CHARACTERS, CHARACTERS_PER_ID * max_ids)
    while cut_pattern is not None and (cut := cut_pattern.search(text, num_characters)):
        ids = encode(text[: cut.start()])
        if len(ids) > max_ids:
            return ids[:max_ids], True
        num_characters = 2 * cut.start()
    ids = encode(text)
    return ids[:max_ids], len(ids) > max_ids


def find_cut_pattern(backend: tokenizers.Tokenizer) -> re.Pattern[str] | None:
    """Where a text may be cut, for `encode_start`; None if the tokenizer may form tokens across every position."""
    if not all(_is_local(step) for step in _steps(backend.normalizer)):
        return None
    if any(re.search(r"\S[\s▁]", token.content) for token in backend.get_added_tokens_decoder().values()):
        return None
    cut_pattern = None
    for step in _steps(backend.pre_tokenizer):
        match step["type"]:
            case "BertPreTokenizer" | "Whitespace" | "WhitespaceSplit":
                cut_pattern = cut_pattern or _removed_space(backend)
            case "ByteLevel":
                cut_pattern = cut_pattern or (_SPACE_OR_LINE_END if step["use_regex"] else None)
            case "Metaspace" if step.get("split", True):
                cut_pattern = cut_pattern or _SPACE
            case "Split" if _regex(step) in _WORD_PATTERNS and step["behavior"] == "Isolated" and not step["invert"]:
                cut_pattern = cut_pattern or _SPACE_OR_LINE_END
            case "Split" if _regex(step) in _DIGIT_PATTERNS and step["behavior"] == "Isolated" and not step["invert"]:
                pass
            case "Digits" | "Punctuation":
                pass
            case _:
                return None
    return cut_pattern


def _removed_space(backend: tokenizers.Tokenizer) -> re.Pattern[str]:
    normalizers = list(_steps(backend.normalizer))
    splits_han = bool(normalizers) and normalizers[0].get("handle_chinese_chars", False)
    return _REMOVED_SPACE_OR_HAN if splits_han else _REMOVED_SPACE


def _steps(component: Any) -> Iterator[dict[str, Any]]:
    """The settings of the steps of a normalizer or pre-tokenizer."""
    return iter(()) if component is None else _flatten(json.loads(component.__getstate__()))


def _flatten(state: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if state["type"] == "Sequence":
        for step in state.get("normalizers") or state.get("pretokenizers") or ():
            yield from _flatten(step)
    else:
        yield state


def _regex(step: dict[str, Any]) -> str | None:
    pattern: str | None = step["pattern"].get("Regex")
    return pattern


def _is_local(step: dict[str, Any]) -> bool:
    """True if a normalizer changes the text before a space without regard to the text after it."""
    if step["type"] != "Replace":
        return step["type"] in _LOCAL_NORMALIZERS
    literal = step["pattern"].get("String")
    if literal is None:
        return _regex(step) == " {2,}"
    return literal == " " or not re.search(r"\s", literal)
