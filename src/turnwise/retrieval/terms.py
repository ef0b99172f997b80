"""Terms of a text for lexical search.

Texts are compared in the form NFKC with case folding. Scripts that put spaces between words are split into words, and
the plural of English words is removed. Chinese is cut into words by rjieba. Scripts without spaces also give their
character bigrams, because a cut may differ between a question and a passage.
"""

import re
import unicodedata
from collections.abc import Iterator

from turnwise.core.errors import UserError

TERMS_VERSION = 1  # of this module: an index with terms of another version is built again
MAX_TERM_CHARS = 64  # longer ones, such as encoded data, are cut
_HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Kana, Hangul, Thai, Lao, Myanmar, Khmer
_UNSPACED = f"{_HAN}\u3040-\u30ff\u31f0-\u31ff\uac00-\ud7af\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
# Combining marks, which `\w` leaves out: general ones, Hebrew, Arabic, and the vowel signs of the scripts of India
_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed"
    "\u0900-\u0963\u0966-\u0dff\u0f71-\u0f84\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff"
)
# Runs of unspaced scripts, and words. An apostrophe ends a word, so that "John's" has the term "john".
_RUN = re.compile(rf"[{_UNSPACED}]+|[^\W_{_UNSPACED}](?:[^\W_{_UNSPACED}]|[{_MARKS}])*")
_ASCII_WORD = re.compile(r"[a-z0-9]+")
_HAS_HAN = re.compile(f"[{_HAN}]")
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")


def split_terms(text: str) -> list[str]:
    """The terms of a text, repeated as often as they occur.

    Raises:
        UserError: the text is Chinese, and rjieba is not installed.
    """
    folded = fold(text)
    if folded.isascii():
        return [remove_plural(word)[:MAX_TERM_CHARS] for word in _ASCII_WORD.findall(folded)]
    terms: list[str] = []
    for run in _RUN.findall(folded):
        if _IS_UNSPACED.match(run):
            terms.extend(_unspaced_terms(run))
        else:
            terms.append(remove_plural(run)[:MAX_TERM_CHARS])
    return terms


def fold(text: str) -> str:
    """The text in the form that is compared: NFKC and case folding."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def remove_plural(word: str) -> str:
    """An English word without the ending of a plural (the S stemmer of Harman 1991, "How effective is suffixing?")."""
    if word[-1] != "s" or len(word) < 4 or not word.isascii():
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    if word.endswith("es") and not word.endswith(("aes", "ees", "oes")):
        return word[:-1]
    return word if word.endswith(("us", "ss")) else word[:-1]


def _unspaced_terms(run: str) -> Iterator[str]:
    """Words and bigrams; a bigram that is also a word counts once."""
    words = cut_chinese(run) if _HAS_HAN.search(run) else [run] if len(run) == 1 else []
    yield from (word[:MAX_TERM_CHARS] for word in words)
    unique = set(words)
    yield from (bigram for i in range(len(run) - 1) if (bigram := run[i : i + 2]) not in unique)


def han_runs(text: str) -> list[str]:
    """The runs of scripts without spaces that have Chinese characters."""
    return [run for run in _RUN.findall(text) if _IS_UNSPACED.match(run) and _HAS_HAN.search(run)]


def cut_chinese(run: str) -> list[str]:
    """The words of a run of Chinese characters. Raises `UserError` if rjieba is not installed."""
    try:
        import rjieba
    except ImportError as error:
        raise UserError("Search in Chinese needs rjieba: pip install 'turnwise[knowledge]'.") from error
    words: list[str] = rjieba.cut(run)
    return words
