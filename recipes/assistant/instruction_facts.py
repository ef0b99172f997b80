"""Texts and general knowledge of instruction_dialogues.py: random names, values and questions with their answers.

The texts are in instruction.yaml beside this file. All answers are computed from its tables.
"""

import random
import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from turnwise.data.typing_noise import misspell

TEXTS: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("instruction.yaml").read_text(encoding="utf-8"))
DAYS: list[str] = TEXTS["days"]
MONTHS: list[str] = TEXTS["months"]
CAPITALS: dict[str, str] = TEXTS["capitals"]


def pick(texts: str | list[str], rng: random.Random, **values: str | int) -> str:
    """Return one of the alternatives with its fields filled; a text that is not in a list has no alternative."""
    return (texts if isinstance(texts, str) else rng.choice(texts)).format(**values)


def capitalize(text: str) -> str:
    """Return `text` with an upper-case first letter and the rest unchanged."""
    return text[:1].upper() + text[1:]


def with_article(noun: str) -> str:
    """Return the noun with "a" or "an"."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def sample_name(rng: random.Random) -> str:
    """Return a first name: a common one, or in one case of three an invented one."""
    if rng.random() < 0.67:
        return pick(TEXTS["people"], rng)
    return "".join(rng.choice(syllables) for syllables in TEXTS["invented_names"])


def sample_values(rng: random.Random) -> dict[str, str]:
    """Return one random value for every kind of detail."""
    hour, minute = rng.randint(8, 17), rng.choice([0, 5, 10, 15, 20, 30, 40, 45, 50])
    return {
        "time": f"{hour}:{minute:02d}", "day": rng.choice(DAYS), "date": f"{rng.randint(1, 28)} {rng.choice(MONTHS)}",
        "person": sample_name(rng), "evening": f"{rng.randint(17, 21)}:{minute:02d}", "count": str(rng.randint(5, 40)),
        "colour": rng.choice(TEXTS["colours"]), "price": str(rng.randint(12, 480)),
        "code": f"{rng.choice('ABCDKMRT')}-{rng.randint(1000, 9999)}",
        "model": f"{rng.choice(TEXTS['models'])} {rng.randint(10, 990)}",
        "city": rng.choice(TEXTS["cities"]), "pet": rng.choice(TEXTS["pets"]),
        "street": f"{rng.randint(2, 98)} {rng.choice(TEXTS['streets'])}", "food": rng.choice(TEXTS["foods"]),
        "direction": rng.choice(TEXTS["directions"]), "item": rng.choice(TEXTS["items"]),
    }  # fmt: skip


def type_hastily(text: str, rng: random.Random, fixed: tuple[str, ...] = (), share: float = 0.3) -> str:
    """Return `text`, in this share of cases in hurried spelling; the strings in `fixed` stay unchanged."""
    if rng.random() >= share:
        return text
    is_lower, is_unmarked, has_typo = rng.random() < 0.7, rng.random() < 0.6, rng.random() < 0.35
    pieces = re.split(f"({'|'.join(re.escape(value) for value in fixed)})", text) if fixed else [text]
    if is_lower:
        pieces = [piece if piece in fixed else piece.lower() for piece in pieces]
    # A typo in a capitalised word, or in a quoted one, would change what the question is about.
    typo_words = re.compile(rf"\b(?:{'|'.join(TEXTS['typo_words'])})\b")
    matches = [
        (index, match)
        for index, piece in enumerate(pieces)
        if piece not in fixed
        for match in typo_words.finditer(piece)
    ]
    if has_typo and matches:
        index, match = rng.choice(matches)
        pieces[index] = pieces[index][: match.start()] + misspell(match.group(), rng) + pieces[index][match.end() :]
    result = "".join(pieces)
    return result.rstrip(".!?") if is_unmarked else result


def join_lead(lead: str, question: str) -> str:
    """Return the question after the words of `lead`; after a comma it goes on in lower case, except for names."""
    if lead.endswith((",", "And")) and re.match(rf"(?:{'|'.join(TEXTS['first_words'])})\b", question):
        question = question[0].lower() + question[1:]
    return f"{lead} {question}".strip()


class Fact(NamedTuple):
    """A question with the shortest answer and the answer as a full sentence."""

    question: str
    short: str
    sentence: str


def fill_fact(form: str, answer: str | int, rng: random.Random, **values: str | int) -> Fact:
    """Return a fact of the form with this name in `fact_forms`."""
    questions, sentence = TEXTS["fact_forms"][form]["questions"], TEXTS["fact_forms"][form]["sentence"]
    question = questions if isinstance(questions, str) else rng.choice(questions)
    if isinstance(question, dict):  # a question with a sentence of its own
        question, sentence = question["question"], question["sentence"]
    text = question.format(**values)
    return Fact(text, str(answer), capitalize(pick(sentence, rng, answer=answer, **values)))


def build_table_fact(form: str, rng: random.Random) -> Fact:
    """Return a fact about a random row of the table of this form."""
    table, *fields = TEXTS["fact_forms"][form]["table"]
    rows = TEXTS[table]
    row = rng.choice(list(rows.items()) if isinstance(rows, dict) else rows)
    if form == "opposite" and "light" not in row and rng.random() < 0.5:
        row = row[::-1]
    if form == "legs" and row[1] == 0:
        form = "no_legs"
    values = {**dict(zip(fields, row, strict=True)), f"a_{fields[0]}": with_article(row[0])}
    return fill_fact(form, values[TEXTS["fact_forms"][form]["answer"]], rng, **values)


def build_word_fact(rng: random.Random) -> Fact:
    """Return a question with an answer of one word (or two)."""
    return build_table_fact(rng.choice(TEXTS["word_facts"]), rng)


def build_number_fact(rng: random.Random) -> Fact:
    """Return a question with a number as its answer."""
    kind = rng.choice(["quantity", "legs", "sum", "difference", "product", "month_number"])
    if kind in ("quantity", "legs", "month_number"):
        return build_table_fact(kind, rng)
    first, second = rng.randint(2, 12), rng.randint(2, 12)
    if kind == "product":
        return fill_fact(kind, first * second, rng, first=first, second=second)
    first, second = rng.randint(10, 50), rng.randint(2, 30)
    if kind == "sum":
        return fill_fact(kind, first + second, rng, first=first, second=second)
    return fill_fact(kind, first, rng, first=first + second, second=second)


def build_yes_no_fact(rng: random.Random) -> Fact:
    """Return a question that is answered with yes or no."""
    kind = rng.choice(["is_capital", "is_greater", "has_legs", "is_sum", "is_next_day", "yes_no", "yes_no"])
    is_true = rng.random() < 0.5
    if kind == "yes_no":
        return build_table_fact(kind, rng)
    values: dict[str, str | int]
    if kind == "is_capital":
        country, city = rng.choice(list(CAPITALS.items()))
        shown = city if is_true else rng.choice([capital for capital in CAPITALS.values() if capital != city])
        values = {"country": country, "city": city, "shown": shown}
    elif kind == "is_greater":
        first, second = rng.sample(range(2, 99), 2)
        is_true = first > second
        values = {"first": first, "second": second, "high": max(first, second), "low": min(first, second)}
    elif kind == "has_legs":
        animal, legs = rng.choice(list(TEXTS["legs"].items()))
        legs_shown = legs if is_true and legs else (4 if legs != 4 else 6)
        is_true = legs_shown == legs
        values = {"animal": with_article(animal), "legs": legs or "no", "shown": legs_shown}
    elif kind == "is_sum":
        first, second = rng.randint(2, 20), rng.randint(2, 20)
        sum_shown = first + second + (0 if is_true else rng.choice([-2, -1, 1, 2]))
        values = {"first": first, "second": second, "sum": first + second, "shown": sum_shown}
    else:
        start = rng.randrange(7)
        day_shown = (start + 1) % 7 if is_true else (start + rng.randint(2, 6)) % 7
        values = {"start": DAYS[start], "next": DAYS[(start + 1) % 7], "shown": DAYS[day_shown]}
    return fill_fact(kind, "yes" if is_true else "no", rng, **values)


def build_fact(rng: random.Random) -> Fact:
    """Return a question of any kind."""
    return rng.choice([build_word_fact, build_word_fact, build_number_fact, build_yes_no_fact])(rng)


def ask(fact: Fact, rng: random.Random) -> str:
    """Return the question, sometimes with words before it and in hurried spelling."""
    return type_hastily(join_lead(pick(TEXTS["leads"], rng), fact.question), rng)


def build_fact_turn(rng: random.Random) -> tuple[str, str]:
    """Return a question of any kind and its answer as a sentence."""
    fact = build_fact(rng)
    return ask(fact, rng), fact.sentence
