"""Reads a template grammar from YAML and says exactly what is wrong with one.

::

    system: ["You are Turnwise."]            # optional; one is picked for some of the dialogues
    slots: {name: [Anna, Ben]}               # a slot keeps one value through a dialogue
    topics:
      greeting:
        start: 3                             # how readily it opens a dialogue; 0 never, default 1
        user: ["hi", "hello[| there]"]       # any of these ...
        assistant: ["Hello!"]                # ... is answered by any of these
        then: [joke]                         # what likely comes next
      joke:
        pairs: [{user: [...], assistant: [...]}]
        weight: 4                            # default: the square root of its number of lines
        repeat: true                         # may come up again in the same dialogue
      memory:
        turns: [["I am {name}.", "Hi {name}!", "who am I?", "You are {name}."]]
        needs: [greeting]                    # only after all of these
        not_after: [joke]                    # never once one of these came up
      goodbye: {user: [bye], assistant: ["Goodbye!"], start: 0, end: true}     # nothing follows
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnwise.core.errors import InvalidData, did_you_mean
from turnwise.data.grammar.line_templates import LineTemplate, parse_template
from turnwise.data.strict_yaml import parse_yaml, read_yaml

GRAMMAR_KEYS = ("system", "slots", "topics")
TOPIC_KEYS = ("start", "weight", "user", "assistant", "pairs", "turns", "then", "needs", "not_after", "repeat", "end")

# The ways to say each turn, user and assistant in alternation.
Script = tuple[tuple[LineTemplate, ...], ...]


@dataclass(frozen=True, slots=True)
class Topic:
    """Something a dialogue may be about. `weight` is how often it is drawn, `start` how readily it opens."""

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
    """A checked grammar: every slot and topic it speaks of exists."""

    name: str
    system: tuple[LineTemplate, ...]
    slots: Mapping[str, tuple[str, ...]]
    topics: Mapping[str, Topic]


def load_grammar(path: str | Path) -> DialogueGrammar:
    """The grammar in a YAML file. Raises `InvalidData` naming the file, the topic and the line at fault."""
    return _Parser(str(path)).grammar(read_yaml(path, "grammar"))


def parse_grammar(text: str, name: str = "grammar") -> DialogueGrammar:
    """The grammar in a YAML text; `name` is what error messages call it. Raises `InvalidData`."""
    return _Parser(name).grammar(parse_yaml(text, name))


class _Parser:
    """Turns plain YAML values into a `Grammar`; `name` starts every message."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.slots: dict[str, tuple[str, ...]] = {}

    def fail(self, where: str, problem: str) -> InvalidData:
        return InvalidData(f"{self.name}, {where}: {problem}" if where else f"{self.name}: {problem}")

    def grammar(self, plain: Any) -> DialogueGrammar:
        plain = self._mapping(plain, "", GRAMMAR_KEYS)
        slots = self._mapping(plain.get("slots") or {}, "slots")
        self.slots = {str(slot): self._strings(values, f"slot '{slot}'") for slot, values in slots.items()}
        system = self._templates(plain["system"], "system") if plain.get("system") else ()
        names = self._mapping(plain.get("topics") or {}, "topics")
        topics = {str(name): self._topic(str(name), topic) for name, topic in names.items()}
        for topic in topics.values():
            for other in (*topic.then, *sorted(topic.needs | topic.not_after)):
                if other not in topics:
                    raise self.fail(f"topic '{topic.name}'", f"unknown topic '{other}': {did_you_mean(other, topics)}")
        if not any(topic.start * topic.weight > 0 and not topic.needs for topic in topics.values()):
            raise self.fail("topics", "no topic may open a dialogue. Give one a 'start' above 0 and no 'needs'.")
        return DialogueGrammar(self.name, system, self.slots, topics)

    def _topic(self, name: str, plain: Any) -> Topic:
        where = f"topic '{name}'"
        plain = self._mapping(plain, where, TOPIC_KEYS)
        scripts = tuple(self._scripts(plain, where))
        if not scripts:
            raise self.fail(where, "it says nothing. Give it 'user' and 'assistant', 'pairs' or 'turns'.")
        lines = sum(len(ways) for script in scripts for ways in script)
        return Topic(
            name=name,
            scripts=scripts,
            start=self._number(plain.get("start", 1), where, "start"),
            weight=self._number(plain.get("weight", math.sqrt(lines)), where, "weight"),
            then=self._topics(plain.get("then"), where),
            needs=frozenset(self._topics(plain.get("needs"), where)),
            not_after=frozenset(self._topics(plain.get("not_after"), where)),
            repeat=self._switch(plain.get("repeat", False), where, "repeat"),
            end=self._switch(plain.get("end", False), where, "end"),
        )

    def _scripts(self, plain: Mapping[str, Any], where: str) -> Iterable[Script]:
        if "user" in plain or "assistant" in plain:
            yield self._pair({key: plain[key] for key in ("user", "assistant") if key in plain}, where)
        for pair in self._list(plain.get("pairs", []), f"{where}, pairs"):
            yield self._pair(self._mapping(pair, f"{where}, pairs", ("user", "assistant")), where)
        for turns in self._list(plain.get("turns", []), f"{where}, turns"):
            script = tuple(self._templates(turn, where) for turn in self._list(turns, f"{where}, turns"))
            if not script or len(script) % 2:
                raise self.fail(
                    where, f"{turns!r} has {len(script)} turns; user and assistant alternate, so it must be even."
                )
            yield script

    def _pair(self, pair: Mapping[str, Any], where: str) -> Script:
        for side in ("user", "assistant"):
            if not pair.get(side):
                raise self.fail(where, f"{dict(pair)!r} has no '{side}' lines.")
        return self._templates(pair["user"], where), self._templates(pair["assistant"], where)

    def _templates(self, lines: Any, where: str) -> tuple[LineTemplate, ...]:
        return tuple(self._template(line, where) for line in self._strings(lines, where))

    def _topics(self, names: Any, where: str) -> tuple[str, ...]:
        return self._strings(names, where) if names else ()

    def _template(self, line: str, where: str) -> LineTemplate:
        try:
            template = parse_template(line)
        except ValueError as error:
            raise self.fail(where, f"in {line!r} {error}.") from error
        for slot in sorted(template.slots - self.slots.keys()):
            raise self.fail(where, f"in {line!r} the slot '{slot}' is unknown: {did_you_mean(slot, self.slots)}")
        return template

    def _strings(self, values: Any, where: str) -> tuple[str, ...]:
        """A list of lines, or one line standing alone."""
        lines = [values] if isinstance(values, str) else self._list(values, where)
        if not lines:
            raise self.fail(where, "a list is empty.")
        for line in lines:
            if not isinstance(line, str):
                raise self.fail(where, f"YAML reads {line!r} as something other than text. Put quotes around it.")
            if not line.strip():
                raise self.fail(where, "a line is empty.")
        return tuple(line.strip() for line in lines)

    def _list(self, value: Any, where: str) -> list[Any]:
        if not isinstance(value, list):
            raise self.fail(where, f"a list is expected here, not {value!r}.")
        return value

    def _mapping(self, value: Any, where: str, known: tuple[str, ...] | None = None) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise self.fail(where, f"'key: value' lines are expected here, not {value!r}.")
        for key in value:
            if known is not None and key not in known:
                raise self.fail(where, f"unknown key '{key}': {did_you_mean(str(key), known)}")
        return value

    def _number(self, value: Any, where: str, key: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise self.fail(where, f"'{key}' must be a number of at least 0, not {value!r}.")
        return float(value)

    def _switch(self, value: Any, where: str, key: str) -> bool:
        if not isinstance(value, bool):
            raise self.fail(where, f"'{key}' must be true or false, not {value!r}.")
        return value
