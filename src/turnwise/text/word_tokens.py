"""Word tokens of a text: runs of letters and digits in lower case; each CJK character is a word."""

import re
from collections import Counter
from collections.abc import Sequence

CJK = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{CJK}]|[^\W{CJK}]+")
_CJK = re.compile(f"[{CJK}]")


def split_words(text: str) -> list[str]:
    """Split a text into words."""
    return _WORD.findall(text.lower())


def count_ngrams(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    """Count the n-grams of `order` tokens."""
    return Counter(zip(*(tokens[start:] for start in range(order)), strict=False))


def is_cjk(texts: Sequence[str]) -> bool:
    """Return whether more than 30 % of the characters, without white space, are CJK."""
    joined = "".join(texts)
    return len(_CJK.findall(joined)) > 0.3 * max(1, len(re.sub(r"\s", "", joined)))
