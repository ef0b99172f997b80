"""Variants of a message to customer service: misspelt, polite, short, and written without care.

Training and test have phrases of their own, so that a test does not measure whether phrases were learned by heart.
"""

import random
import re
from collections.abc import Callable, Mapping

WORD = re.compile(r"[A-Za-z']+")
MIN_MISSPELT_LENGTH = 4  # letters; shorter words are hard to recognise for people too
KEYBOARD_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
# Words that carry a request and not its subject.
FRAME_TEXT = """
    a able about again am an and any are as assist assistance at be been being can cannot cant could do does doing
    don't dont for from get getting give going gonna got had has have having hello help helping hey hi how i i'd i'm
    id if im in inform information is it it's its know let like look looking make may me might my need needed no not
    of on or our please possible question s see seeing show so some somebody someone something tell thank thanks
    that the their there these they this those to try trying u uhelp under up ur us wanna want wanted was we were
    what what's when where which who why will wish with would ya you your damn goddamn fucking bloody
"""
FRAME_WORDS = frozenset(FRAME_TEXT.split())
POLITE_PHRASES = {
    "train": (
        ("Hello, ", ""), ("Hi there! ", " Thank you."), ("Could you please help me? ", ""), ("", " Thanks in advance!"),
        ("Good morning, ", ", please."), ("Sorry to bother you. ", " Many thanks."), ("Please: ", ""),
        ("I would be grateful for your help. ", ""),
    ),
    "test": (
        ("Dear team, ", " Kind regards, Maria"), ("Good evening! If you have a minute: ", ""),
        ("", " I'd really appreciate it, thank you so much"), ("Excuse me, ", " Cheers"),
        ("Hope you are well. ", " Best wishes"),
    ),
}  # fmt: skip


def misspell(text: str, rng: random.Random) -> str:
    """The text with a typing error in up to two of its words; unchanged if all words are short."""
    words = [match for match in WORD.finditer(text) if len(match[0]) >= MIN_MISSPELT_LENGTH]
    chosen = rng.sample(words, min(len(words), rng.choice((1, 1, 2))))
    for match in sorted(chosen, key=re.Match.start, reverse=True):
        text = text[: match.start()] + misspell_word(match[0], rng) + text[match.end() :]
    return text


def misspell_word(word: str, rng: random.Random) -> str:
    """The word with two letters exchanged, or one left out, doubled, or replaced by its neighbour on a keyboard."""
    position = rng.randrange(1, len(word) - 1)
    before, letter, after = word[:position], word[position], word[position + 1 :]
    kind = rng.choice(("exchange", "omit", "double", "neighbour"))
    if kind == "exchange":
        return before + after[0] + letter + after[1:]
    if kind == "omit":
        return before + after
    if kind == "double":
        return before + letter + letter + after
    return before + _neighbour(letter, rng) + after


def _neighbour(letter: str, rng: random.Random) -> str:
    row = next((row for row in KEYBOARD_ROWS if letter.lower() in row), "")
    index = row.find(letter.lower())
    neighbours = [row[other] for other in (index - 1, index + 1) if row and 0 <= other < len(row)]
    return rng.choice(neighbours) if neighbours else letter


def make_polite(text: str, rng: random.Random, phrases: str = "train") -> str:
    """The text between polite phrases, of the training or of the test."""
    before, after = rng.choice(POLITE_PHRASES[phrases])
    return f"{before}{text}{after}"


def shorten(text: str, rng: random.Random) -> str:  # noqa: ARG001, variants have the same signature
    """The words of the subject alone, as typed into a search box; the text itself if it has fewer than two of them."""
    words = [word for word in text.split() if word.strip(".,;:!?\"'").lower() not in FRAME_WORDS | {""}]
    shortened = " ".join(words).strip(" .,;:!?").lower()
    return shortened if len(words) >= 2 else text


def write_carelessly(text: str, rng: random.Random) -> str:
    """The text in capital or small letters, without punctuation or with too much of it."""
    kind = rng.choice(("upper", "lower", "plain", "marks"))
    if kind == "upper":
        return text.upper()
    if kind == "marks":
        return f"{text.rstrip('.!? ')}{rng.choice(('!!!', '???', '..', '?!'))}"
    return text.lower() if kind == "lower" else re.sub(r"[.,;:!?]+(?=\s|$)", "", text).lower()


VARIANTS: Mapping[str, Callable[[str, random.Random], str]] = {
    "misspelt": misspell,
    "polite": make_polite,
    "short": shorten,
    "careless": write_carelessly,
}
