"""Adds typing noise to user messages, such as typos, so that a model learns to understand them."""

import random
import re

from turnwise.data.grammar.line_templates import TemplateSpan

FINAL_MARKS = ".!?。！？…"
# The keys beside each letter on a QWERTY keyboard.
NEIGHBOURS = {
    "q": "wa", "w": "qes", "e": "wrd", "r": "etf", "t": "ryg", "y": "tuh", "u": "yij", "i": "uok", "o": "ipl",
    "p": "ol", "a": "qsz", "s": "adw", "d": "sfe", "f": "dgr", "g": "fht", "h": "gjy", "j": "hku", "k": "jli",
    "l": "kop", "z": "axs", "x": "zcs", "c": "xvd", "v": "cbf", "b": "vng", "n": "bmh", "m": "nj",
}  # fmt: skip
TYPO_WORD = re.compile(r"[A-Za-z]{4,}")  # a shorter word with a typo is often another word
Spans = tuple[TemplateSpan, ...]


def add_typing_noise(spans: Spans, rng: random.Random) -> Spans:
    """Return the line with at least one of: lower case, no final mark, one typo. Slot values stay unchanged."""
    lower, unmarked, typo = rng.random() < 0.6, rng.random() < 0.5, rng.random() < 0.35
    if not (lower or unmarked or typo):
        lower = True
    if lower:
        spans = tuple(span if span.slot else TemplateSpan(span.text.lower()) for span in spans)
    if unmarked:
        spans = _remove_final_mark(spans)
    if typo:
        spans = _add_typo(spans, rng)
    return spans


def _remove_final_mark(spans: Spans) -> Spans:
    if not spans or spans[-1].slot:
        return spans
    stripped = spans[-1].text.rstrip(FINAL_MARKS)
    if not stripped and len(spans) == 1:
        return spans  # the line consists of marks only
    return (*spans[:-1], TemplateSpan(stripped)) if stripped else spans[:-1]


def _add_typo(spans: Spans, rng: random.Random) -> Spans:
    texts = [(index, span.text) for index, span in enumerate(spans) if not span.slot]
    words = [(index, word) for index, text in texts for word in TYPO_WORD.finditer(text)]
    if not words:
        return spans
    index, word = rng.choice(words)
    text = spans[index].text
    misspelt = text[: word.start()] + misspell(word.group(), rng) + text[word.end() :]
    return (*spans[:index], TemplateSpan(misspelt), *spans[index + 1 :])


def add_typos(text: str, rng: random.Random, share: float) -> str:
    """Return `text` with a typo in this share of its words of four and more letters, at least in one if there are any.

    Numbers and shorter words stay unchanged.
    """
    words = list(TYPO_WORD.finditer(text))
    if not words:
        return text
    count = max(1, round(share * len(words)))
    for word in sorted(rng.sample(words, min(count, len(words))), key=lambda match: -match.start()):
        text = text[: word.start()] + misspell(word.group(), rng) + text[word.end() :]
    return text


def perturb_typing(text: str, rng: random.Random) -> str:
    """Return `text` as somebody types it in a hurry: lower case, no final mark, a typo in a word."""
    return add_typos(text.lower().rstrip(FINAL_MARKS) or text, rng, share=0.0)


def misspell(word: str, rng: random.Random) -> str:
    """Return `word` with one letter replaced by a neighbouring key, dropped, doubled or swapped with the next one."""
    at = rng.randrange(1, len(word) - 1)  # people rarely mistype the first and the last letter
    letter = word[at]
    kind = rng.randrange(4)
    if kind == 0:
        neighbour = rng.choice(NEIGHBOURS[letter.lower()])
        return word[:at] + (neighbour.upper() if letter.isupper() else neighbour) + word[at + 1 :]
    if kind == 1:
        return word[:at] + word[at + 1 :]
    if kind == 2:
        return word[:at] + letter + word[at:]
    at = min(at, len(word) - 3)
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
