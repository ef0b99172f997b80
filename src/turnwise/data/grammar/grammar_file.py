"""Reads a template grammar from YAML; errors name the file, the section and the line.

::

    system: ["You are Turnwise."]            # optional; some of the dialogues start with one of these
    slots: {name: [Anna, Ben]}               # a slot keeps its value throughout a dialogue
    topics:
      greeting:
        start: 3                             # relative probability of opening a dialogue; 0 never, default 1
        user: ["hi", "hello[| there]"]       # any of these ...
        assistant: ["Hello!"]                # ... is answered by any of these
        then: [joke]                         # likely next topics
      joke:
        pairs: [{user: [...], assistant: [...]}]
        weight: 4                            # relative probability; default: the square root of its number of lines
        repeat: true                         # may occur again in the same dialogue
      memory:
        turns: [["I am {name}.", "Hi {name}!", "who am I?", "You are {name}."]]
        needs: [greeting]                    # only after all of these
        not_after: [joke]                    # never after any of these
      goodbye: {user: [bye], assistant: ["Goodbye!"], start: 0, end: true}     # ends the dialogue
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnwise.core.errors import InvalidData, did_you_mean
from turnwise.core.strict_yaml import parse_yaml, read_yaml
from turnwise.data.grammar.line_templates import LineTemplate, parse_template

GRAMMAR_KEYS = ("system", "slots", "topics")
TOPIC_KEYS = ("start", "weight", "user", "assistant", "pairs", "turns", "then", "needs", "not_after", "repeat", "end")

# The alternative lines of each turn; user and assistant alternate.
Script = tuple[tuple[LineTemplate, ...], ...]


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of dialogues, with the keys of its section in the file (see the module docstring)."""

    name: str
    scripts: tuple[Script, ...]
    start: float
    weight: float
    then: tuple[str, ...]
    needs: frozenset[str]
    not_after: frozenset[str]
    repeat: bool
    end: bool


@dataclass(frozen=True, slots=True)
class DialogueGrammar:
    """A validated grammar: every slot and topic that it refers to exists."""

    name: str
    system: tuple[LineTemplate, ...]
    slots: Mapping[str, tuple[str, ...]]
    topics: Mapping[str, Topic]


def load_grammar(path: str | Path) -> DialogueGrammar:
    """Read the grammar in a YAML file. Raises `InvalidData` naming the file, the topic and the line."""
    return _GrammarParser(str(path)).parse(read_yaml(path, "grammar"))


def parse_grammar(text: str, name: str = "grammar") -> DialogueGrammar:
    """Parse the grammar in a YAML text; error messages start with `name`. Raises `InvalidData`."""
    return _GrammarParser(name).parse(parse_yaml(text, name))


class _GrammarParser:
    """Validates the values of a YAML file. `section`, a parameter of most methods, is the location in messages."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.slots: dict[str, tuple[str, ...]] = {}

    def _error(self, section: str, problem: str) -> InvalidData:
        return InvalidData(f"{self.name}, {section}: {problem}" if section else f"{self.name}: {problem}")

    def parse(self, value: Any) -> DialogueGrammar:
        entries = self._mapping(value, "", GRAMMAR_KEYS)
        slots = self._mapping(entries.get("slots") or {}, "slots")
        self.slots = {str(slot): self._strings(values, f"slot '{slot}'") for slot, values in slots.items()}
        system = self._templates(entries["system"], "system") if entries.get("system") else ()
        topic_entries = self._mapping(entries.get("topics") or {}, "topics")
        topics = {str(name): self._topic(str(name), topic) for name, topic in topic_entries.items()}
        for topic in topics.values():
            for name in (*topic.then, *sorted(topic.needs | topic.not_after)):
                if name not in topics:
                    raise self._error(f"topic '{topic.name}'", f"unknown topic '{name}': {did_you_mean(name, topics)}")
        if not any(topic.start * topic.weight > 0 and not topic.needs for topic in topics.values()):
            raise self._error("topics", "no topic can open a dialogue. Give a topic a 'start' above 0 and no 'needs'.")
        return DialogueGrammar(self.name, system, self.slots, topics)

    def _topic(self, name: str, value: Any) -> Topic:
        section = f"topic '{name}'"
        entries = self._mapping(value, section, TOPIC_KEYS)
        scripts = tuple(self._scripts(entries, section))
        if not scripts:
            raise self._error(section, "it has no lines. Give it 'user' and 'assistant', 'pairs' or 'turns'.")
        lines = sum(len(templates) for script in scripts for templates in script)
        return Topic(
            name=name,
            scripts=scripts,
            start=self._number(entries.get("start", 1), section, "start"),
            weight=self._number(entries.get("weight", math.sqrt(lines)), section, "weight"),
            then=self._topics(entries.get("then"), section),
            needs=frozenset(self._topics(entries.get("needs"), section)),
            not_after=frozenset(self._topics(entries.get("not_after"), section)),
            repeat=self._boolean(entries.get("repeat", False), section, "repeat"),
            end=self._boolean(entries.get("end", False), section, "end"),
        )

    def _scripts(self, entries: Mapping[str, Any], section: str) -> Iterable[Script]:
        if "user" in entries or "assistant" in entries:
            yield self._pair({key: entries[key] for key in ("user", "assistant") if key in entries}, section)
        for pair in self._list(entries.get("pairs", []), f"{section}, pairs"):
            yield self._pair(self._mapping(pair, f"{section}, pairs", ("user", "assistant")), section)
        for turns in self._list(entries.get("turns", []), f"{section}, turns"):
            script = tuple(self._templates(turn, section) for turn in self._list(turns, f"{section}, turns"))
            if not script or len(script) % 2:
                raise self._error(
                    section,
                    f"{turns!r} has {len(script)} turns; the number of turns must be even.",
                )
            yield script

    def _pair(self, pair: Mapping[str, Any], section: str) -> Script:
        for role in ("user", "assistant"):
            if not pair.get(role):
                raise self._error(section, f"{dict(pair)!r} has no '{role}' lines.")
        return self._templates(pair["user"], section), self._templates(pair["assistant"], section)

    def _templates(self, lines: Any, section: str) -> tuple[LineTemplate, ...]:
        return tuple(self._template(line, section) for line in self._strings(lines, section))

    def _topics(self, names: Any, section: str) -> tuple[str, ...]:
        return self._strings(names, section) if names else ()

    def _template(self, line: str, section: str) -> LineTemplate:
        try:
            template = parse_template(line)
        except ValueError as error:
            raise self._error(section, f"in {line!r} {error}.") from error
        for slot in sorted(template.slots - self.slots.keys()):
            raise self._error(section, f"in {line!r} the slot '{slot}' is unknown: {did_you_mean(slot, self.slots)}")
        return template

    def _strings(self, values: Any, section: str) -> tuple[str, ...]:
        """Return a list of lines; a single line counts as a list."""
        lines = [values] if isinstance(values, str) else self._list(values, section)
        if not lines:
            raise self._error(section, "a list is empty.")
        for line in lines:
            if not isinstance(line, str):
                raise self._error(section, f"YAML parses {line!r} as a value that is not text. Put quotes around it.")
            if not line.strip():
                raise self._error(section, "a line is empty.")
        return tuple(line.strip() for line in lines)

    def _list(self, value: Any, section: str) -> list[Any]:
        if not isinstance(value, list):
            raise self._error(section, f"expected a list, not {value!r}.")
        return value

    def _mapping(self, value: Any, section: str, allowed: tuple[str, ...] | None = None) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise self._error(section, f"expected 'key: value' lines, not {value!r}.")
        for key in value:
            if allowed is not None and key not in allowed:
                raise self._error(section, f"unknown key '{key}': {did_you_mean(str(key), allowed)}")
        return value

    def _number(self, value: Any, section: str, key: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise self._error(section, f"'{key}' must be a number of at least 0, not {value!r}.")
        return float(value)

    def _boolean(self, value: Any, section: str, key: str) -> bool:
        if not isinstance(value, bool):
            raise self._error(section, f"'{key}' must be true or false, not {value!r}.")
        return value
