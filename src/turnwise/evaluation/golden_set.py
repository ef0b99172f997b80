"""Conversations whose answers can be told right from wrong by what has to be said and what must not be: the golden set.

::

    - id: refund-window                      # unique among all files; a case's kind is its file's name
      system: "You answer for Lampino. ..."  # optional
      talk: ["Can I still return it?"]       # user, assistant, user ...; the user speaks last
      say: [["30", thirty], [return*]]       # of each group an answer has at least one
      never: ["60 days"]                     # and none of these
      words: [1, 80]                         # optional: at least and at most so many words
      safety: true                           # optional: nothing may get worse here; so are all in `safety.yaml`
      example: "Yes, within 30 days you can return it."       # an answer that passes
      bad: "Sorry, only within 60 days."                      # and one that does not

Words are matched whole and whatever their case, those of an alternative one after the other; a word that ends with `*`
stands for all that begin so. A Han sign is a word, so Chinese is found anywhere. Punctuation counts for nothing. A list
within a group is part of it, so that YAML's anchors (`&`, `*`) can name what several groups share.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from turnwise.core.errors import InvalidData, did_you_mean
from turnwise.core.messages import Message, Role
from turnwise.data.strict_yaml import read_yaml
from turnwise.evaluation.word_tokens import split_words

KEYS = ("id", "system", "talk", "say", "never", "words", "safety", "example", "bad")
SAFETY = "safety"  # the kind all of whose cases are about safety
ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class GoldenCase:
    """A conversation that is to be answered, and how to tell whether an answer is right.

    Attributes:
        id: unique.
        kind: its file's name.
        history: what is answered, a system message first if there is one.
        say: groups of alternatives: of each group one is said.
        never: what is not said.
        words: how many words an answer has at least and at most; None for any number.
        safety: whether nothing may get worse here.
        example: an answer that passes; "" where nobody wrote one.
        bad: an answer that does not; likewise.
    """

    id: str
    kind: str
    history: tuple[Message, ...]
    say: tuple[tuple[str, ...], ...] = ()
    never: tuple[str, ...] = ()
    words: tuple[int, int] | None = None
    safety: bool = False
    example: str = ""
    bad: str = ""


def passes_case(case: GoldenCase, text: str) -> bool:
    """Whether an answer is right. One without a word never is."""
    return not find_faults(case, text)


def find_faults(case: GoldenCase, text: str) -> list[str]:
    """What is wrong with an answer, for people; empty where it passes."""
    spoken = _words(text)
    if not spoken:
        return ["it says nothing"]
    said = " ".join(spoken)
    found = [f"it says none of: {', '.join(group)}" for group in case.say if not any(_in(said, each) for each in group)]
    found += [f"it says: {each}" for each in case.never if _in(said, each)]
    if case.words is not None and not case.words[0] <= len(spoken) <= case.words[1]:
        found.append(f"it has {len(spoken)} words, not {case.words[0]} to {case.words[1]}")
    return found


def golden_cases(path: str | Path | None = None) -> tuple[GoldenCase, ...]:
    """The cases in a file, in all files of a folder, or in ours.

    Raises:
        InvalidData: a file is not what it should be, or there is none.
    """
    return _ours() if path is None else _load(Path(path))


@cache
def _ours() -> tuple[GoldenCase, ...]:
    with resources.as_file(resources.files("turnwise.evaluation").joinpath("golden")) as folder:
        return _load(folder)


def _load(path: Path) -> tuple[GoldenCase, ...]:
    files = sorted(each for each in path.iterdir() if each.suffix in ENDINGS) if path.is_dir() else [path]
    if not files:
        raise InvalidData(f"There are no golden cases in {path}: it holds no file that ends with {ENDINGS[0]}.")
    found: dict[str, tuple[GoldenCase, Path]] = {}
    for file in files:
        for case in _Reader(file).cases():
            if case.id in found:
                raise InvalidData(f"{file}, case '{case.id}': {found[case.id][1].name} has a case of that id already.")
            found[case.id] = case, file
    return tuple(case for case, _ in found.values())


class _Reader:
    """Turns a file into cases; every message begins with its name."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def cases(self) -> list[GoldenCase]:
        plain = read_yaml(self.file, "golden cases")
        if not isinstance(plain, list) or not plain:
            raise InvalidData(f"{self.file}: a list of cases is expected, each beginning with '- id: NAME'.")
        return [self._case(each, number) for number, each in enumerate(plain, 1)]

    def _case(self, plain: Any, number: int) -> GoldenCase:
        where = f"case {number}"
        if not isinstance(plain, dict):
            raise self._fail(where, f"'key: value' lines are expected, not {plain!r}.")
        where = f"case '{self._text(plain.get('id'), where, 'id')}'"
        for key in plain:
            if key not in KEYS:
                raise self._fail(where, f"unknown key '{key}': {did_you_mean(str(key), KEYS)}")
        case = GoldenCase(
            id=plain["id"],
            kind=self.file.stem,
            history=self._history(plain, where),
            say=tuple(
                self._alternatives(group, where, "say") for group in self._list(plain.get("say", []), where, "say")
            ),
            never=self._alternatives(plain["never"], where, "never") if "never" in plain else (),
            words=self._range(plain["words"], where) if "words" in plain else None,
            safety=self._switch(plain.get("safety", self.file.stem == SAFETY), where),
            example=self._text(plain["example"], where, "example") if "example" in plain else "",
            bad=self._text(plain["bad"], where, "bad") if "bad" in plain else "",
        )
        if not case.say and not case.never:
            raise self._fail(where, "it needs 'say' or 'never', or any answer would be right.")
        if case.example and (wrong := find_faults(case, case.example)):
            raise self._fail(where, f"its own 'example' does not pass: {'; '.join(wrong)}.")
        if case.bad and passes_case(case, case.bad):
            raise self._fail(where, "its 'bad' answer passes.")
        return case

    def _history(self, plain: dict[str, Any], where: str) -> tuple[Message, ...]:
        talk = [self._text(said, where, "talk") for said in self._list(plain.get("talk"), where, "talk")]
        if len(talk) % 2 == 0:
            raise self._fail(where, "in 'talk' user and assistant take turns and the user speaks first and last.")
        system = [Message("system", self._text(plain["system"], where, "system"))] if "system" in plain else []
        roles: tuple[Role, Role] = ("user", "assistant")
        return (*system, *(Message(roles[turn % 2], said) for turn, said in enumerate(talk)))

    def _alternatives(self, plain: Any, where: str, key: str) -> tuple[str, ...]:
        """A list of texts, of which some may stand in lists of their own; or one text."""
        found = tuple(_flat(plain))
        if not found:
            raise self._fail(where, f"a list in '{key}' is empty.")
        for each in found:
            if not _words(self._text(each, where, key)):
                raise self._fail(where, f"{each!r} in '{key}' has no word in it.")
        return found

    def _range(self, plain: Any, where: str) -> tuple[int, int]:
        if (
            not isinstance(plain, list)
            or len(plain) != 2
            or not all(isinstance(each, int) and not isinstance(each, bool) for each in plain)
            or not 0 <= plain[0] <= plain[1]
        ):
            raise self._fail(where, f"'words' is two numbers, the least and the most, not {plain!r}.")
        return plain[0], plain[1]

    def _switch(self, plain: Any, where: str) -> bool:
        if not isinstance(plain, bool):
            raise self._fail(where, f"'safety' is true or false, not {plain!r}.")
        return plain

    def _list(self, plain: Any, where: str, key: str) -> list[Any]:
        if not isinstance(plain, list):
            raise self._fail(where, f"'{key}' should be a list, not {plain!r}.")
        return plain

    def _text(self, plain: Any, where: str, key: str) -> str:
        if plain is None or plain == "":
            raise self._fail(where, f"'{key}' is missing or empty.")
        if not isinstance(plain, str):
            raise self._fail(where, f"in '{key}' YAML reads {plain!r} as something other than text: quote it.")
        return plain

    def _fail(self, where: str, problem: str) -> InvalidData:
        return InvalidData(f"{self.file}, {where}: {problem}")


def _flat(plain: Any) -> Iterable[Any]:
    if isinstance(plain, list):
        for each in plain:
            yield from _flat(each)
    else:
        yield plain


def _words(text: str) -> list[str]:
    """Words, of which those of full width are as others."""
    return split_words(unicodedata.normalize("NFKC", text))


def _in(said: str, alternative: str) -> bool:
    """Whether the words of an alternative stand among words with spaces between, one after the other."""
    return _pattern(alternative).search(said) is not None


@cache
def _pattern(alternative: str) -> re.Pattern[str]:
    found = []
    for piece in alternative.split():
        parts = _words(piece)
        if parts and piece.endswith("*"):
            parts[-1] += r"\S*"
        found += parts
    return re.compile(rf"(?<!\S){' '.join(found)}(?!\S)")
