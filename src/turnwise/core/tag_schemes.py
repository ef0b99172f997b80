"""Tag schemes of named entities: recognising them, and converting them to IOB2.

In all schemes a tag is a prefix, a hyphen and a label, and "O" is outside.

- IOB2 (also BIO): B begins every entity, I continues it.
- IOB1: I begins an entity, B only if it follows directly on one of the same label.
- BIOES (also IOBES, BMES), BILOU: E or L ends an entity of several tokens, S or U is an entity of one token; M is I.

An entity begins at a B, S or U, after an E, L, S or U, where the label changes, and after "O". This rule, that of the
evaluation script of CoNLL-2000, is right for every scheme, and reads sequences that no scheme allows in one way only.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

OUTSIDE = "O"  # the tag of a token outside of entities
PREFIXES = frozenset("BIMESLU")
_BEGINS, _ENDS = frozenset("BSU"), frozenset("ESLU")

Scheme = Literal["IOB1", "IOB2", "BIOES", "BILOU", "mixed", "plain"]


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity: tokens `start` up to but not including `end`, and their label."""

    start: int
    end: int
    label: str


def split_tag(tag: str) -> tuple[str, str]:
    """Return prefix and label of a tag: ("B", "PER") for "B-PER", ("", "NN") for the plain label "NN"."""
    if len(tag) > 2 and tag[1] == "-" and tag[0] in PREFIXES:
        return tag[0], tag[2:]
    return "", tag


def detect_scheme(sentences: Iterable[Sequence[str]]) -> Scheme:
    """Return the scheme of the tags of a data set.

    "mixed" are tags that no single scheme explains, such as entities that begin with B beside others that begin with I;
    "plain" are labels without prefixes. Data without any entity count as IOB2.
    """
    prefixes: set[str] = set()
    is_plain = begins_with_b = begins_with_i = False
    for tags in sentences:
        previous = OUTSIDE
        for tag in tags:
            prefix, label = split_tag(tag)
            is_plain |= not prefix and tag != OUTSIDE
            prefixes |= {prefix} - {""}
            continues = previous != OUTSIDE and split_tag(previous)[1] == label
            begins_with_b |= prefix == "B" and not continues
            begins_with_i |= prefix in ("I", "M") and not continues
            previous = tag
    if is_plain:
        return "mixed" if prefixes else "plain"
    if prefixes & {"E", "S"} and prefixes & {"L", "U"}:
        return "mixed"
    if prefixes & {"E", "S", "L", "U", "M"}:
        return "mixed" if begins_with_i else "BILOU" if prefixes & {"L", "U"} else "BIOES"
    if begins_with_i:
        return "mixed" if begins_with_b else "IOB1"
    return "IOB2"


def to_iob2(tags: Sequence[str]) -> tuple[str, ...]:
    """Convert the tags of a sentence from any scheme to IOB2; plain labels stay as they are."""
    converted = []
    previous = OUTSIDE
    for tag in tags:
        prefix, label = split_tag(tag)
        if prefix:
            converted.append(f"{'B' if _begins_entity(previous, tag) else 'I'}-{label}")
        else:
            converted.append(tag)
        previous = tag
    return tuple(converted)


def entities(tags: Sequence[str]) -> list[Entity]:
    """Return the entities of a sentence, in order; the tags may have any scheme. Plain labels are no entities."""
    result: list[Entity] = []
    for index, tag in enumerate(to_iob2(tags)):
        prefix, label = split_tag(tag)
        if prefix == "B":
            result.append(Entity(index, index + 1, label))
        elif prefix == "I":  # in IOB2 it continues the last entity
            result[-1] = Entity(result[-1].start, index + 1, label)
    return result


def _begins_entity(previous: str, tag: str) -> bool:
    """True if an entity begins at `tag`."""
    prefix, label = split_tag(tag)
    previous_prefix, previous_label = split_tag(previous)
    return prefix in _BEGINS or not previous_prefix or previous_prefix in _ENDS or previous_label != label
