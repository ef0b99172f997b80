"""Reads the dialogues of `service_path/`: what customers write, and which replies are right.

::

    language: en
    kind: answerable                     # or outside, hostile
    wording: near                        # or far; of answerable dialogues
    dialogues:
    - id: en_near_return_days            # unique
      turns:
      - user: I'd like to return a backpack. How many days do I have?
        asks: {order_number: FH-310277}  # what may be asked for, and what the customer then writes
        must: [['$return_days']]         # a match of every group is in a right answer
        must_not: ['14 days']            # any match makes the reply wrong
        outcome: [answer]                # the replies that can be right: answer, ask, hand_off, refuse

`must` and `must_not` are regular expressions; `$name` is one of `patterns.yaml`. Without `outcome`, an answerable
message has to be answered, and one outside the shop's knowledge not (ask, hand_off or refuse).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from turnwise.core.errors import InvalidData
from turnwise.core.strict_model import StrictModel, parse_strict_model
from turnwise.core.strict_yaml import read_yaml

FOLDER = Path(__file__).parents[1] / "service_path"
SETS = {"first": "dialogues", "second": "dialogues_second"}  # written independently of each other

Outcome = Literal["answer", "ask", "hand_off", "refuse"]
Kind = Literal["answerable", "outside", "hostile"]
NEED = "need"  # the entry of `asks` for questions about something that is no slot
DEFAULT_OUTCOMES: Mapping[Kind, tuple[Outcome, ...]] = {
    "answerable": ("answer",),
    "outside": ("refuse", "ask", "hand_off"),
    "hostile": ("refuse", "hand_off"),
}


class TurnEntry(StrictModel):
    """A turn as it is written."""

    user: str
    must: tuple[tuple[str, ...], ...] = ()
    must_not: tuple[str, ...] = ()
    outcome: tuple[Outcome, ...] | None = None
    asks: dict[str, str] = Field(default_factory=dict)


class DialogueEntry(StrictModel):
    """A dialogue as it is written."""

    id: str
    turns: tuple[TurnEntry, ...]
    mixed: bool = False


class DialogueFile(StrictModel):
    """A file of dialogues."""

    language: Literal["en", "zh"]
    kind: Kind
    wording: Literal["near", "far"] | None = None
    dialogues: tuple[DialogueEntry, ...]


@dataclass(frozen=True, slots=True)
class ExpectedTurn:
    """A message of the customer, and which replies are right.

    Attributes:
        user: the message.
        must: groups of alternatives; a right answer matches one of each group.
        must_not: a reply that matches any is wrong.
        outcomes: the kinds of replies that can be right.
        asks: what may be asked for: a slot or `NEED`, and the customer's message with it.
    """

    user: str
    must: tuple[tuple[re.Pattern[str], ...], ...]
    must_not: tuple[re.Pattern[str], ...]
    outcomes: tuple[Outcome, ...]
    asks: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A dialogue. `is_mixed`: the customer mixes languages, so the language of replies is free."""

    id: str
    language: str
    kind: Kind
    wording: str | None
    is_mixed: bool
    turns: tuple[ExpectedTurn, ...]


def read_dialogues(folder: Path = FOLDER, set_name: str = "first") -> list[Dialogue]:
    """All dialogues of a set.

    Args:
        folder: has `patterns.yaml` and the folders of `SETS`.
        set_name: a key of `SETS`.

    Raises:
        InvalidData: a file has other keys, an id occurs twice, or an expression is invalid.
        InvalidParameter: a value has another type.
    """
    patterns = read_yaml(folder / "patterns.yaml", "patterns")
    dialogues: dict[str, Dialogue] = {}
    for path in sorted((folder / SETS[set_name]).glob("*.yaml")):
        file = parse_strict_model(DialogueFile, read_yaml(path, "dialogues"), origin=path.name)
        for entry in file.dialogues:
            if entry.id in dialogues:
                raise InvalidData(f"{path.name}: the id '{entry.id}' occurs twice.")
            turns = tuple(_build_turn(turn, file.kind, patterns, f"{path.name}, {entry.id}") for turn in entry.turns)
            dialogues[entry.id] = Dialogue(entry.id, file.language, file.kind, file.wording, entry.mixed, turns)
    return list(dialogues.values())


def _build_turn(entry: TurnEntry, kind: Kind, patterns: Mapping[str, str], origin: str) -> ExpectedTurn:
    outcomes = entry.outcome or DEFAULT_OUTCOMES[kind]
    if kind == "answerable" and "answer" in outcomes and not entry.must:
        raise InvalidData(f"{origin}: nothing tells a right answer; write 'must'.")
    return ExpectedTurn(
        entry.user,
        tuple(tuple(_compile(text, patterns, origin) for text in group) for group in entry.must),
        tuple(_compile(text, patterns, origin) for text in entry.must_not),
        outcomes,
        entry.asks,
    )


def _compile(text: str, patterns: Mapping[str, str], origin: str) -> re.Pattern[str]:
    name = text.removeprefix("$")
    if re.fullmatch(r"\$\w+", text) and name not in patterns:
        raise InvalidData(f"{origin}: patterns.yaml has no '{name}'.")
    try:
        return re.compile(patterns[name] if re.fullmatch(r"\$\w+", text) else text, re.IGNORECASE)
    except re.error as error:
        raise InvalidData(f"{origin}: '{text}' is no regular expression: {error}.") from error
