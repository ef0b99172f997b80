"""Training texts of the tagger: templates filled with names and addresses, varied as people write, and plain texts."""

import csv
import gzip
import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from fillers import Fillers

from turnwise.core.personal_data import PersonalSpan

TEMPLATES = Path(__file__).with_name("templates")
NAME_SLOTS = frozenset({"NAME", "FIRST", "LAST", "PERSON", "CALL", "NICK", "LATIN", "GIVEN"})
ADDRESS_SLOTS = frozenset({"ADDRESS", "STREET"})
_SLOT = re.compile(r"\{([A-Z]+)\}")
_CHINESE = re.compile("[\u4e00-\u9fff]")
_NARROW = str.maketrans("\uff0c\uff1a\uff1b\uff1f\uff01\uff08\uff09", ",:;?!()")  # as the detectors get them
# Texts with these words may hold a name that is not marked.
_DOUBTFUL = re.compile(
    r"\b(name|mr|mrs|ms|dr|called|address|street|dear|hi|hello|hey|uncle|aunt)\b|叫|姓|先生|女士|老师|小姐|医生|小明|阿姨|叔|李|王|张|地址|路",
    re.IGNORECASE,
)
Labelled = tuple[str, list[PersonalSpan]]


def read_templates(name: str) -> list[str]:
    """Templates of a file of `templates/`; `\\n` is a line break."""
    lines = (TEMPLATES / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line.replace("\\n", "\n") for line in lines if line and not line.startswith("#")]


def fill_template(template: str, fillers: Fillers) -> Labelled:
    """Fill the slots of a template."""
    is_chinese = _CHINESE.search(template) is not None
    return _fill(template, fillers, is_chinese=is_chinese)


def _fill(template: str, fillers: Fillers, *, is_chinese: bool) -> Labelled:
    text, spans, position = "", [], 0
    for match in _SLOT.finditer(template):
        text += template[position : match.start()]
        position, slot = match.end(), match[1]
        value = fillers.fill(slot, is_chinese=is_chinese)
        if slot in NAME_SLOTS:
            spans.append(PersonalSpan(len(text), len(text) + len(value), "name"))
        elif slot in ADDRESS_SLOTS:
            spans.append(PersonalSpan(len(text), len(text) + len(value), "address"))
        text += value
    return text + template[position:], spans


def generate(count: int, templates: dict[str, list[str]], rng: random.Random) -> Iterator[Labelled]:
    """`count` texts of one or several templates of one language; `templates` has `en_personal`, `en_plain`, …"""
    fillers = Fillers(rng)
    for _ in range(count):
        language = rng.choice(("en", "en", "zh"))
        joiner = rng.choice((" ", " ", "\n")) if language == "en" else rng.choice(("。", ",", " ", "\n", ",", "。"))
        pieces = []
        for _ in range(rng.choice((1, 1, 1, 1, 2, 2, 3))):
            kind = "personal" if rng.random() < 0.66 else "plain"
            piece = _fill(rng.choice(templates[f"{language}_{kind}"]), fillers, is_chinese=language == "zh")
            pieces.append(vary_case(piece, rng))
        labelled = join(pieces, joiner)
        yield vary_chinese(labelled, rng) if language == "zh" else vary_english(labelled, rng)


def join(pieces: Sequence[Labelled], joiner: str) -> Labelled:
    """Texts one after the other, as one text."""
    text, spans = "", []
    for piece, piece_spans in pieces:
        text += joiner if text else ""
        spans += [PersonalSpan(span.start + len(text), span.end + len(text), span.kind) for span in piece_spans]
        text += piece
    return text, spans


def vary_case(labelled: Labelled, rng: random.Random) -> Labelled:
    """Lower or upper case, sometimes only of the names."""
    text, spans = labelled
    roll = rng.random()
    if roll < 0.28:
        lowered = text.lower()
        return (lowered, spans) if len(lowered) == len(text) else labelled
    if roll < 0.31:
        upper = text.upper()
        return (upper, spans) if len(upper) == len(text) else labelled
    if roll < 0.35:
        for span in spans:
            value = text[span.start : span.end]
            changed = value.lower() if rng.random() < 0.6 else value.upper()
            if len(changed) == len(value):
                text = text[: span.start] + changed + text[span.end :]
    return text, spans


def vary_english(labelled: Labelled, rng: random.Random) -> Labelled:
    """Leave out punctuation, and mistype words outside of the spans."""
    if rng.random() < 0.2:
        labelled = edit(labelled, lambda text, index: "" if text[index] in ".,!?:;" else text[index])
    if rng.random() < 0.12:
        labelled = edit(labelled, lambda text, index: _mistype(text[index], rng))
    return labelled


def vary_chinese(labelled: Labelled, rng: random.Random) -> Labelled:
    """Narrow punctuation in place of full-width one; sometimes blanks or nothing in its place."""
    text, spans = labelled[0].translate(_NARROW), labelled[1]
    roll = rng.random()
    if roll < 0.8:
        return text, spans
    if roll < 0.9:
        return re.sub("[,。:]", " ", text), spans
    return edit((text, spans), lambda text, index: "" if text[index] in ",。:" else text[index])


def edit(labelled: Labelled, change: "object") -> Labelled:
    """Replace characters outside of the spans by `change(text, index)`, and shift the spans."""
    text, spans = labelled
    inside = {index for span in spans for index in range(span.start, span.end)}
    pieces = [text[index] if index in inside else change(text, index) for index in range(len(text))]  # type: ignore[operator]
    offsets = [0]
    for piece in pieces:
        offsets.append(offsets[-1] + len(piece))
    return "".join(pieces), [PersonalSpan(offsets[span.start], offsets[span.end], span.kind) for span in spans]


class Vocabulary:
    """Words and Chinese characters of texts, to replace words around spans, so that the tagger relies on no single one.

    Args:
        texts: texts without personal data.
        rng: source of random numbers.
    """

    def __init__(self, texts: Sequence[str], rng: random.Random) -> None:
        self.rng = rng
        self._words = [word for text in texts for word in re.findall(r"[a-z]+", text)] or ["the"]
        self._characters = [word for text in texts for word in re.findall("[\u4e00-\u9fff]", text)] or ["的"]

    def replace(self, labelled: Labelled, share: float) -> Labelled:
        """Replace a share of the words outside of the spans, in half of the texts."""
        if self.rng.random() < 0.5:
            return labelled
        text, spans = labelled
        pieces, shifted, position = [], [], 0
        for span in [*spans, PersonalSpan(len(text), len(text), "name")]:
            pieces.append(
                re.sub(
                    r"[a-z]{2,}|[\u4e00-\u9fff]", lambda match: self._word(match[0], share), text[position : span.start]
                )
            )
            start = sum(map(len, pieces))
            pieces.append(text[span.start : span.end])
            if span.end > span.start:
                shifted.append(PersonalSpan(start, start + span.end - span.start, span.kind))
            position = span.end
        return "".join(pieces), shifted

    def _word(self, word: str, share: float) -> str:
        if self.rng.random() >= share:
            return word
        return self.rng.choice(self._characters if _CHINESE.match(word) else self._words)


def _mistype(character: str, rng: random.Random) -> str:
    if not character.isalpha() or rng.random() > 0.06:
        return character
    return rng.choice(("", character * 2, rng.choice("aeionrst")))


def read_plain_texts(path: Path, limit: int, rng: random.Random) -> list[Labelled]:
    """Up to `limit` texts without names of a file with chats (JSON lines) or texts (CSV)."""
    texts: list[str] = []
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        if path.name.endswith(".csv.gz"):
            texts = [row[0] for row in csv.reader(file)][1:]
        else:
            texts = [message["content"] for line in file for message in json.loads(line)["messages"]]
    rng.shuffle(texts)
    fillers, rows = Fillers(rng), []
    for text in texts:
        if len(rows) == limit:
            break
        if "{{Person Name}}" in text:
            rows.append(_fill(_other_slots(text.replace("{{Person Name}}", "{NAME}")), fillers, is_chinese=False))
        elif len(text) < 400 and not _DOUBTFUL.search(text):
            rows.append((text, []))
    return rows


def _other_slots(text: str) -> str:
    """Fill the slots of a data set that are not names with words of ours."""
    text = re.sub(r"\{\{[^}]*(Number|ID)[^}]*\}\}", "{ORDER}", text)
    text = re.sub(r"\{\{[^}]*(Company|Store|Website)[^}]*\}\}", "{COMPANY}", text)
    text = re.sub(r"\{\{[^}]*(City)[^}]*\}\}", "{CITY}", text)
    return re.sub(r"\{\{([^}]*)\}\}", r"\1", text)
