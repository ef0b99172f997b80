"""Texts of the metrics that ask questions of their own: written for this, with places for values, and read strictly."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from turnwise.core.messages import Message
from turnwise.data.strict_yaml import read_yaml

ProbeDialogue = Sequence[Mapping[Any, str]]
"""A talk as it stands in a file: each message is a role and a text."""


def read_probes(name: str) -> Any:
    """What one of the files here holds."""
    return read_yaml(Path(__file__).with_name(f"{name}.yaml"), "probes")


def fill_dialogue(said: ProbeDialogue, **values: str) -> tuple[Message, ...]:
    """A talk with its places filled in; KeyError for a place that gets nothing."""
    return tuple(Message(role, text.format(**values)) for message in said for role, text in message.items())
