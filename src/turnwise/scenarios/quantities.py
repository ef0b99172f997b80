"""Prices, times, durations, percentages and contacts in English and Chinese texts, in a form that can be compared."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_WORDS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "twelve": 12, "fourteen": 14, "twenty": 20, "thirty": 30, "sixty": 60, "ninety": 90,
    "一": 1, "两": 2, "二": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9, "十": 10, "十二": 12,
    "十四": 14, "三十": 30, "六十": 60, "九十": 90,
}  # fmt: skip
_WORD = "|".join(sorted(_WORDS, key=len, reverse=True))
_UNITS = {
    "second": "second", "秒": "second", "minute": "minute", "分钟": "minute", "hour": "hour", "小时": "hour",
    "个小时": "hour", "working day": "working day", "business day": "working day", "工作日": "working day",
    "个工作日": "working day", "day": "day", "天": "day", "week": "week", "周": "week", "星期": "week",
    "个星期": "week", "month": "month", "个月": "month", "year": "year", "年": "year",
}  # fmt: skip
_CURRENCIES = {
    "£": "GBP", "pound": "GBP", "英镑": "GBP", "$": "USD", "dollar": "USD", "美元": "USD", "€": "EUR", "euro": "EUR",
    "欧元": "EUR", "¥": "CNY", "yuan": "CNY", "元": "CNY", "块": "CNY",
}  # fmt: skip


def _any(words: dict[str, str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


_PATTERNS = {
    "email": re.compile(r"[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,4}", re.ASCII),
    "url": re.compile(
        r"\b(?:https?://)?(?:[a-z0-9-]{1,64}\.){1,4}(?:com|org|net|example|cn|uk|edu|gov)\b(?:/[\w/-]*)?"
    ),
    "phone": re.compile(r"\+?\d(?:[ ()-]{0,2}\d){7,14}"),
    "address": re.compile(
        r"\d{1,4} (?:[A-Z][a-z]{1,20} ){1,3}(?:Street|Road|Lane|Avenue|Square|Row|Quay|Wharf|Way)\b"
        r"|[\u4e00-\u9fff]{2}(?:路|街|巷|大道)\d{1,4}号"
    ),
    "money": re.compile(
        rf"(?P<sign>[£$€¥]) ?(?P<first>{_NUMBER})|(?P<second>{_NUMBER}) ?(?P<name>{_any(_CURRENCIES)})"
    ),
    "percent": re.compile(rf"(?P<first>{_NUMBER}) ?(?:%|percent\b|per cent\b)"),
    "time": re.compile(
        r"(?P<daypart>早上|上午|中午|下午|晚上)?(?P<hour>\d{1,2})(?:[:点](?P<minute>\d{2})?(?P<half>半)?(?![\d]))?"
        r"(?: ?(?P<suffix>[ap])\.?m\b)?"
    ),
    "duration": re.compile(
        rf"(?:\b(?P<low>{_NUMBER}|{_WORD})(?: ?(?:-|–|to|or|到|至|~) ?))?(?<![\d.])(?P<high>{_NUMBER}|{_WORD})"
        rf"[ -]?(?P<unit>{_any(_UNITS)})s?(?![a-z日])",
        re.IGNORECASE,
    ),
}


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value with its unit, such as ("day", "30"), and the words of the text."""

    unit: str
    value: str
    text: str


def find_quantities(text: str) -> list[Quantity]:
    """All quantities of a text. Equal values have equal `unit` and `value` in both languages."""
    text = unicodedata.normalize("NFKC", text)
    quantities: list[Quantity] = []
    for kind, pattern in _PATTERNS.items():
        spans = []
        for match in pattern.finditer(text):
            values = list(_values(kind, match))
            quantities += [Quantity(unit, value, match.group().strip()) for unit, value in values]
            if values:
                spans.append(match.span())
        for start, end in spans:  # digits of a phone number are no price
            text = f"{text[:start]}{' ' * (end - start)}{text[end:]}"
    return quantities


def split_clauses(text: str) -> list[str]:
    """The clauses of a text: a quantity and what it is about usually stand in one."""
    return [clause for clause in re.split(r"(?<=[.;!?,:])\s+|[。;；!！?？,，\n](?!\d)", text) if clause.strip()]


def _values(kind: str, match: re.Match[str]) -> Iterator[tuple[str, str]]:
    if kind in ("email", "url"):
        yield kind, match.group().lower().removeprefix("https://").removeprefix("http://").rstrip("/")
    elif kind == "phone":
        yield kind, re.sub(r"\D", "", match.group())
    elif kind == "address":
        yield kind, match.group()
    elif kind == "money":
        name = match["sign"] or match["name"]
        yield _CURRENCIES[name], _number(match["first"] or match["second"])
    elif kind == "percent":
        yield kind, _number(match["first"])
    elif kind == "time":
        yield from _time(match)
    else:
        unit = _UNITS[match["unit"].lower()]
        yield from ((unit, _number(value)) for value in (match["low"], match["high"]) if value is not None)


def _time(match: re.Match[str]) -> Iterator[tuple[str, str]]:
    is_clock = match["suffix"] is not None or match.group().rstrip()[-1] in "点半" or match["minute"] is not None
    hour, minute = int(match["hour"]), 30 if match["half"] else int(match["minute"] or 0)
    if not is_clock or hour > 24 or minute > 59:
        return
    is_afternoon = match["suffix"] == "p" or match["daypart"] in ("下午", "晚上")
    if is_afternoon and hour < 12:
        hour += 12
    elif match["suffix"] == "a" and hour == 12:
        hour = 0
    yield "time", f"{hour:02}:{minute:02}"


def _number(text: str) -> str:
    """A number in its shortest form: 6.90 and 6.9 are equal."""
    if text.lower() in _WORDS:
        return str(_WORDS[text.lower()])
    return f"{float(text.replace(',', '')):g}"
