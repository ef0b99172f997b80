"""Reads bundled prompts from YAML: templates of single questions and of short histories, by topic.

::

    slots: {city: [Rome, Oslo]}               # optional; a slot keeps its value throughout a history
    capital:
    - "what is there to see in {city}[?|]"    # one user turn
    - ["I am in {city}.", "How nice!", "[what|where] can I eat there?"]  # user, assistant, user
    - {system: "Answer in one word.", turns: ["Is it [warm|cold] in {city}?"]}
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Message, Role
from turnwise.core.strict_yaml import read_yaml
from turnwise.data.grammar.line_templates import LineTemplate, join_spans, parse_template


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """A history that ends with a user turn: the role and the line of every message."""

    messages: tuple[tuple[Role, LineTemplate], ...]

    def render(self, rng: random.Random, slots: Mapping[str, Sequence[str]]) -> tuple[Message, ...]:
        """Render the history with random alternatives and slot values."""
        names = sorted(frozenset().union(*(template.slots for _, template in self.messages)))
        values = {name: rng.choice(slots[name]) for name in names}
        return tuple(Message(role, join_spans(template.render(rng, values))) for role, template in self.messages)


@dataclass(frozen=True, slots=True)
class PromptLines:
    """The prompts of a file.

    Attributes:
        topics: templates by topic.
        slots: values by the name of a slot.
    """

    topics: Mapping[str, tuple[PromptTemplate, ...]]
    slots: Mapping[str, Sequence[str]]

    def sample(self, rng: random.Random) -> Iterator[tuple[Message, ...]]:
        """Yield histories without end, also repeated ones; all topics are equally likely."""
        topics = list(self.topics.values())
        while True:
            yield rng.choice(rng.choice(topics)).render(rng, self.slots)


def load_prompt_lines(path: Path) -> PromptLines:
    """Read a file of prompts. Raises `InvalidData` if it is malformed; the message names the topic."""
    topics: dict[str, Any] = dict(read_yaml(path, "prompts"))
    slots: dict[str, list[str]] = topics.pop("slots", {})
    for name, options in slots.items():
        if not options or not all(isinstance(option, str) for option in options):
            raise InvalidData(f"{path}: the slot '{name}' must be a list of texts; put numbers in quotes.")
    return PromptLines(
        {topic: tuple(_parse_entry(entry, slots, f"{path}, {topic}") for entry in topics[topic]) for topic in topics},
        slots,
    )


def _parse_entry(entry: Any, slots: Mapping[str, Sequence[str]], section: str) -> PromptTemplate:
    lines: list[tuple[Role, str]] = []
    turns = entry
    if isinstance(entry, dict):
        if set(entry) != {"system", "turns"}:
            raise InvalidData(f"{section}: a mapping must have the keys 'system' and 'turns', got {entry!r}.")
        lines.append(("system", entry["system"]))
        turns = entry["turns"]
    if isinstance(turns, str):
        turns = [turns]
    if not isinstance(turns, list) or len(turns) % 2 == 0:
        raise InvalidData(f"{section}: turns must be a list that starts and ends with a user turn, got {turns!r}.")
    lines.extend(("assistant" if number % 2 else "user", turn) for number, turn in enumerate(turns))
    try:
        messages = tuple((role, parse_template(line)) for role, line in lines)
    except (ValueError, TypeError) as error:
        raise InvalidData(f"{section}: {error}, in {entry!r}.") from error
    missing = sorted(frozenset().union(*(template.slots for _, template in messages)) - set(slots))
    if missing:
        raise InvalidData(f"{section}: 'slots' lacks {', '.join(missing)}.")
    return PromptTemplate(messages)
