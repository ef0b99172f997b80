"""Estimates how many tokens an embedding model makes of a text, without its tokenizer."""

import re

TOKENS_PER_WORD = 1.3  # English prose with its punctuation, with vocabularies of 30,000 to 250,000 tokens
LETTERS_PER_TOKEN = 6  # of words too long for the average: names, numbers, addresses
TOKENS_PER_SYMBOL = 0.1  # the average of a word includes its punctuation; this is for tables and rules of dashes
_CJK = re.compile(
    "[\u1100-\u11ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uffdc\U00020000-\U0003ffff]"
)
_WORD = re.compile(r"\w+")
_SYMBOL = re.compile(r"[^\w\s]")
_LONG_WORD = TOKENS_PER_WORD * LETTERS_PER_TOKEN


def estimate_tokens(text: str) -> float:
    """Estimated number of tokens: 1 of a Chinese, Japanese or Korean character, 1.3 of a word, more of a long word.

    Two parts of a text have at least as many as the whole, so a passage has at most the sum of its parts.
    """
    num_cjk = 0
    if not text.isascii():
        text, num_cjk = _CJK.subn(" ", text)
    words = _WORD.findall(text)
    tokens = TOKENS_PER_WORD * len(words) + TOKENS_PER_SYMBOL * len(_SYMBOL.findall(text))
    tokens += sum(len(word) / LETTERS_PER_TOKEN - TOKENS_PER_WORD for word in words if len(word) > _LONG_WORD)
    return num_cjk + tokens
