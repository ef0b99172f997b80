"""Judges a reply by rules: resolved, wrong, unresolved, or a question that may be asked.

A reply is wrong if it has something that it must not have, or a number, price, percentage, duration or address that
neither the shop's texts nor the customer has. It is resolved if it does what the turn expects. Everything else is
unresolved: true but beside the point, asked again, handed over without need, or in the wrong language. Of numbers in
words, only durations are compared.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from service_path_parts.dialogues import NEED, Dialogue, ExpectedTurn, Outcome
from service_path_parts.reply_signs import (
    DECLINES,
    HAND_OFF,
    SLOT_VALUES,
    UNSURE,
    claims,
    is_in_language,
    is_question,
    normalize,
    requested_slots,
    substance,
)
from turnwise.scenarios.quantities import find_quantities

Verdict = Literal["resolved", "wrong", "unresolved", "asked"]
SMALL_NUMBER = 3  # counts up to here are not looked up
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_LIST_NUMBER = re.compile(r"(?m)^\s*\d+[.)、]\s")
_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+|(?:https?://|www\.)[^\s)\]>，。]+", re.ASCII)
_ORDINAL = re.compile(r"第[一二两三四五六七八九十]+[天年周]")  # 第二天 is no duration
_FACTORS = {"working day": ("day", 1), "week": ("day", 7), "year": ("month", 12)}  # units in others that mean the same
_CURRENCIES = ("EUR", "GBP", "USD", "CNY")
_DURATIONS = ("minute", "hour", "day", "month")
_THOUSANDS = re.compile(r"(?<=\d)[.,](?=\d{3}(?!\d))")


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply of a system.

    Attributes:
        text: the text.
        decision: `ServiceReport.decision`; None if the system makes none.
        seconds: time until the complete reply.
    """

    text: str
    decision: str | None = None
    seconds: float = 0.0

    @property
    def is_handed_off(self) -> bool:
        """True if a person takes over."""
        return self.decision == "hand_off"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and its reason; `slot` is what was asked for, with the verdict "asked"."""

    verdict: Verdict
    reason: str = ""
    slot: str = ""


@dataclass(frozen=True, slots=True)
class ShopTexts:
    """Values that occur in the texts of a shop, see `values`."""

    values: frozenset[str]

    @classmethod
    def of(cls, texts: Iterable[str]) -> "ShopTexts":
        """Those of the texts; 18:00 allows 6, too."""
        return cls(frozenset(values("\n".join(normalize(text) for text in texts))))


def values(text: str) -> set[str]:
    """Numbers, quantities and addresses of a text."""
    return numbers(_ADDRESS.sub(" ", text)) | quantities(text) | addresses(text)


def numbers(text: str) -> set[str]:
    """The numbers of a text, without thousands separators; a time counts as its parts, and by the 12-hour clock."""
    values_of_text: set[str] = set()
    for match in _NUMBER.findall(_THOUSANDS.sub("", _LIST_NUMBER.sub("", text))):
        if ":" in match:
            for piece in match.split(":"):
                values_of_text |= {str(int(piece[:9])), str(int(piece[:9]) % 12)} if piece.isdecimal() else {piece}
        else:
            number = match.replace(",", ".")
            values_of_text.add(number.rstrip("0").rstrip(".") if "." in number else number)
    return values_of_text


def quantities(text: str) -> set[str]:
    """Prices, percentages and durations of a text with their units. One day or year is said of any time."""
    result: set[str] = set()
    for quantity in find_quantities(_ORDINAL.sub(" ", text)):
        unit, factor = _FACTORS.get(quantity.unit, (quantity.unit, 1))
        if unit in _CURRENCIES:
            result.add(f"price {quantity.value}")
        elif unit == "percent":
            result.add(f"{quantity.value} percent")
        elif unit in _DURATIONS and quantity.value != "1":
            result.add(f"{float(quantity.value) * factor:g} {unit}s")
    return result


def addresses(text: str) -> set[str]:
    """E-mail and web addresses of a text."""
    return {match.rstrip(".,:;").casefold() for match in _ADDRESS.findall(text)}


def judge(
    dialogue: Dialogue, turn: ExpectedTurn, reply: Reply, customer_texts: Sequence[str], shop: ShopTexts
) -> Judgement:
    """Judge a reply.

    Args:
        dialogue: the dialogue.
        turn: what is expected of the reply.
        reply: the reply.
        customer_texts: all messages of the customer so far.
        shop: values that the shop's texts have.
    """
    text = normalize(reply.text)
    claimed = claims(text)
    if (pattern := next((p for p in turn.must_not if p.search(claimed)), None)) is not None:
        return Judgement("wrong", f"must not: {pattern.pattern}")
    if invented := _invented(turn, text, customer_texts, shop):
        return Judgement("wrong", f"invented: {', '.join(sorted(invented))}")
    if not text:
        return Judgement("unresolved", "empty")
    if not dialogue.is_mixed and not is_in_language(text, dialogue.language):
        return Judgement("unresolved", "wrong language")
    slots = requested_slots(text)
    for slot in slots:
        is_due = slot in turn.asks and turn.asks[slot] not in customer_texts
        if not is_due and any(SLOT_VALUES[slot].search(normalize(message)) for message in customer_texts):
            return Judgement("unresolved", f"asked again: {slot}")
    outcomes = _outcomes(reply, text)
    missing = _first_missing_group(turn, substance(text))
    for outcome in turn.outcomes:
        if outcome in outcomes and (outcome != "answer" or missing is None):
            return Judgement("resolved", outcome)
    for slot in (*slots, *([NEED] if not slots and "ask" in outcomes else [])):
        if slot in turn.asks:
            return Judgement("asked", slot=slot)
    if outcomes == {"answer"} or (missing is not None and "answer" in outcomes):
        return Judgement("unresolved", f"missing: {missing}" if missing else "an answer does not suffice")
    return Judgement("unresolved", f"did {', '.join(sorted(outcomes))}")


def _outcomes(reply: Reply, text: str) -> set[Outcome]:
    """What a reply does: by its decision if it has one, otherwise by its words."""
    by_decision: dict[str, Outcome] = {"hand_off": "hand_off", "clarify": "ask", "refusal": "refuse"}
    kind = (reply.decision or "").partition(":")[0]
    if kind in by_decision:
        return {by_decision[kind]}
    outcomes: set[Outcome] = set()
    if UNSURE.search(text) or DECLINES.search(text):
        outcomes.add("refuse")
    if HAND_OFF.search(text):
        outcomes.add("hand_off")
    if is_question(text):
        outcomes.add("ask")
    if substance(text):
        outcomes.add("answer")
    return outcomes


def _first_missing_group(turn: ExpectedTurn, text: str) -> str | None:
    for group in turn.must:
        if not any(pattern.search(text) for pattern in group):
            return " | ".join(pattern.pattern for pattern in group)[:120]
    return None


def _invented(turn: ExpectedTurn, text: str, customer_texts: Sequence[str], shop: ShopTexts) -> set[str]:
    """Values of a reply that nobody gave. What a right answer has to have, such as a sum, is allowed."""
    customer = normalize("\n".join(customer_texts))
    allowed = shop.values | values(customer) | {str(count) for count in range(SMALL_NUMBER + 1)}
    units = ("price {}", "{} percent", *(f"{{}} {unit}s" for unit in _DURATIONS))  # "52 quid" allows €52
    allowed |= {unit.format(number) for unit in units for number in numbers(customer)}
    expected = "\n".join(m.group() for group in turn.must for pattern in group for m in pattern.finditer(text))
    allowed |= values(expected) | {f"price {number}" for number in numbers(expected)}
    return values(text) - allowed
