"""The language of a message, among those that a scenario has."""

import re
from collections.abc import Sequence

_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")
_KANA = re.compile("[\u3040-\u30ff]")
_HANGUL = re.compile("[\uac00-\ud7af]")
_LATIN = re.compile(r"\b(?![A-Za-z]+-?\d)[A-Za-z\u00c0-\u024f]{2,}\b")  # no codes such as LW-123456


def detect_language(message: str, languages: Sequence[str], default: str) -> str:
    """The language of a message, by its script; `default` if the script tells nothing.

    A Chinese character counts as much as a Latin word.
    """
    counts = {
        "zh": len(_HAN.findall(message)),
        "ja": 2 * len(_KANA.findall(message)),
        "ko": len(_HANGUL.findall(message)),
    }
    script = max(counts, key=lambda name: counts[name])
    num_words = len(_LATIN.findall(message))
    if counts[script] >= max(1, num_words):
        return _choose(script, languages) or default
    if num_words == 0 or default.partition("-")[0] not in counts:
        return default
    return next((language for language in languages if language.partition("-")[0] not in counts), default)


def _choose(base: str, languages: Sequence[str]) -> str | None:
    return next((language for language in languages if language.partition("-")[0] == base), None)
