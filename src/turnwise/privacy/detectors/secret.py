"""Secrets: keys of services with a distinctive form, tokens, and what follows "password is" and the like."""

import re
from collections.abc import Iterator

from turnwise.core.personal_data import PersonalSpan
from turnwise.privacy.patterns import AFTER, BEFORE, find_spans, has_digit

_KEYS = re.compile(
    rf"{BEFORE}(?:sk-[A-Za-z0-9_\-]{{16,}}|(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{{16,}}|"
    rf"gh[pousr]_[A-Za-z0-9]{{30,}}|github_pat_[A-Za-z0-9_]{{40,}}"
    rf"|(?:AKIA|ASIA)[A-Z0-9]{{16}}|AIza[A-Za-z0-9_\-]{{30,}}|xox[abposr]-[A-Za-z0-9\-]{{10,}}|"
    rf"glpat-[A-Za-z0-9_\-]{{16,}}|hf_[A-Za-z0-9]{{20,}}"
    rf"|LTAI[A-Za-z0-9]{{12,}}|eyJ[A-Za-z0-9_\-]{{8,}}\.[A-Za-z0-9_\-]{{8,}}\.[A-Za-z0-9_\-]{{8,}}|"
    rf"npm_[A-Za-z0-9]{{30,}}|SG\.[A-Za-z0-9_\-]{{16,}}\.[A-Za-z0-9_\-]{{16,}})"
)
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_ASSIGNED = re.compile(
    r"(?:api[ _\-]?key|secret(?:[ _\-]?key)?|access[ _\-]?key|token|bearer|client[ _\-]?secret|密钥|令牌|秘钥)"
    r"\s*(?:是|为|is|:|=|\s)\s*[\"'`]?(?P<value>(?=[^\s]{0,200}\d)[A-Za-z0-9_\-+/=.~]{12,})",
    re.IGNORECASE,
)
_PASSWORD = re.compile(
    r"(?<![A-Za-z])(?:password|passwd|passcode|passphrase|pwd|pw|pass)\b(?:\s+(?:for|of|"
    r"to)(?:\s+\S+){1,4}?)?\s*(?:is now|is|was|:|=|->|to)\s*[\"'`]?"
    r"(?P<value>[^\s\"'`,。;]{4,64})",
    re.IGNORECASE,
)
_PASSWORD_ZH = re.compile(
    r"(?:密码|口令|验证码|动态码|校验码|暗号)\s*(?:就?是|为|设为|改成|改为|换成|:|=|"
    r"(?=\d{4}))\s*[\"'“]?(?P<value>[A-Za-z0-9!-/:-@\[-`{-~]{4,64})"
)
_PIN = re.compile(
    rf"(?<![A-Za-z])(?:pin|otp|one[ \-]time (?:code|password)|verification code|security code|cvv|"
    rf"cvc)\b(?:\s+(?:code|number))?\s*(?:is|was|:|=)\s*(?P<value>\d{{3,8}}){AFTER}",
    re.IGNORECASE,
)
# Words after "the password is" that are no password.
_ORDINARY = """wrong incorrect correct invalid required too not missing expired the that this very again still also
case long short weak strong never always usually empty secret your my changed reset working sent stored hashed
encrypted visible hidden needed there here what when because sensitive
only accepted rejected being going used really just now out about older same different"""
_ORDINARY_WORDS = frozenset(_ORDINARY.split())
_TRAILING = ".,!?;:)。"


def detect(text: str) -> Iterator[PersonalSpan]:
    """Spans of secrets, without punctuation at the end."""
    yield from find_spans(_KEYS, text, "secret")
    yield from find_spans(_PRIVATE_KEY, text, "secret")
    yield from find_spans(_ASSIGNED, text, "secret", has_digit)
    yield from find_spans(_PIN, text, "secret")
    for pattern in (_PASSWORD, _PASSWORD_ZH):
        for span in find_spans(pattern, text, "secret", _is_password):
            value = text[span.start : span.end].rstrip(".,)。;" if "!" in text[span.start : span.end] else _TRAILING)
            yield PersonalSpan(span.start, span.start + len(value), "secret")


def _is_password(value: str) -> bool:
    word = value.rstrip(_TRAILING)
    return (
        len(word) >= 4
        and word.lower() not in _ORDINARY_WORDS
        and (not word.isalpha() or not word.islower() or len(word) >= 6)
    )
