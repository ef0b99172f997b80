"""Reads the reply to a question between two intents. Only a reply that is a choice and nothing else chooses."""

import re
import unicodedata
from collections.abc import Sequence

from turnwise.chat.service_path.text_evidence import content_words

_ORDINALS = (
    (r"first|1st|former|one|1", "第一|第1|前一|前者|前面|一|1"),
    (r"second|2nd|latter|last|two|2", "第二|第2|后一|后者|后面|二|2"),
)
_BEFORE = r"(?:(?:i mean|i meant|it is|it's|yes|well|ok|okay|please) )*(?:the )?(?:(?:number|option|choice|no) )?"
_AFTER = r"(?: (?:one|option|choice))?(?: please)?(?: thanks| thank you)?"
_CHINESE_BEFORE = "(?:是的?|嗯|对|好的?|我是?(?:想问|想|说|指|要|选)?|请?选(?:择)?|选项|就|那就)*"
_CHINESE_AFTER = "(?:种|个|项|点|条|那个|的)*(?:问题|选项)?(?:吧|啊|呢|哦|谢谢)*"
_PATTERNS = tuple(
    re.compile(rf"{_BEFORE}(?:{latin}){_AFTER}|{_CHINESE_BEFORE}(?:{chinese}){_CHINESE_AFTER}")
    for latin, chinese in _ORDINALS
)
_PUNCTUATION = re.compile(r"[^\w\s']+")


def choose_offered(message: str, labels: Sequence[str]) -> int | None:
    """Position of the option that a reply chooses; None if the reply is not a choice.

    A reply chooses by position ("1", "the first one", "第一个"), by the label of an option, or by words of a label that
    no other label has.

    Args:
        message: the reply.
        labels: the options as the question named them.
    """
    reply = _normalize(message)
    for index, pattern in enumerate(_PATTERNS[: len(labels)]):
        if pattern.fullmatch(reply):
            return index
    words = content_words(message)
    chosen = [
        index
        for index, label in enumerate(labels)
        if reply == _normalize(label) or (words and words <= content_words(label))
    ]
    return chosen[0] if len(chosen) == 1 else None


def _normalize(text: str) -> str:
    """Lower case, without punctuation and repeated spaces."""
    return " ".join(_PUNCTUATION.sub(" ", unicodedata.normalize("NFKC", text).casefold()).split())
