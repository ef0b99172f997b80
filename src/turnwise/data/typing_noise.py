"""What hurried fingers do to a line, so that a model learns to understand it anyway."""

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
# Shorter words stay whole: "my" with a typo is another word.
TYPO_WORD = re.compile(r"[A-Za-z]{4,}")


def add_typing_noise(pieces: tuple[TemplateSpan, ...], rng: random.Random) -> tuple[TemplateSpan, ...]:
    """The line in lower case, without its final mark, with one typo, or several of these; slot values stay."""
    lower, unmarked, typo = rng.random() < 0.6, rng.random() < 0.5, rng.random() < 0.35
    if not (lower or unmarked or typo):
        lower = True
    if lower:
        pieces = tuple(p if p.slot else TemplateSpan(p.text.lower()) for p in pieces)
    if unmarked:
        pieces = _without_final_mark(pieces)
    if typo:
        pieces = _with_typo(pieces, rng)
    return pieces


def _without_final_mark(pieces: tuple[TemplateSpan, ...]) -> tuple[TemplateSpan, ...]:
    if not pieces or pieces[-1].slot:
        return pieces
    bare = pieces[-1].text.rstrip(FINAL_MARKS)
    if not bare and len(pieces) == 1:
        return pieces  # the line is nothing but marks
    return (*pieces[:-1], TemplateSpan(bare)) if bare else pieces[:-1]


def _with_typo(pieces: tuple[TemplateSpan, ...], rng: random.Random) -> tuple[TemplateSpan, ...]:
    words = [(number, word) for number, p in enumerate(pieces) if not p.slot for word in TYPO_WORD.finditer(p.text)]
    if not words:
        return pieces
    number, word = rng.choice(words)
    text = pieces[number].text
    changed = text[: word.start()] + misspell(word.group(), rng) + text[word.end() :]
    return (*pieces[:number], TemplateSpan(changed), *pieces[number + 1 :])


def add_typos(text: str, rng: random.Random, share: float) -> str:
    """`text` with a share of its longer words misspelt, at least one if there is any; figures and short words stay."""
    words = list(TYPO_WORD.finditer(text))
    if not words:
        return text
    count = max(1, round(share * len(words)))
    for word in sorted(rng.sample(words, min(count, len(words))), key=lambda found: -found.start()):
        text = text[: word.start()] + misspell(word.group(), rng) + text[word.end() :]
    return text


def misspell(word: str, rng: random.Random) -> str:
    """`word` with one letter hit beside its key, left out, doubled or swapped with the next."""
    at = rng.randrange(1, len(word) - 1)  # first and last letters carry a word's look: they stay
    letter = word[at]
    kind = rng.randrange(4)
    if kind == 0:
        beside = rng.choice(NEIGHBOURS[letter.lower()])
        return word[:at] + (beside.upper() if letter.isupper() else beside) + word[at + 1 :]
    if kind == 1:
        return word[:at] + word[at + 1 :]
    if kind == 2:
        return word[:at] + letter + word[at:]
    at = min(at, len(word) - 3)
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
