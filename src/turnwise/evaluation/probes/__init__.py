"""Texts of the metrics that bring their own samples: YAML files with placeholders for values."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from turnwise.core.messages import Message
from turnwise.core.strict_yaml import read_yaml

ProbeDialogue = Sequence[Mapping[Any, str]]
"""A dialogue in a probe file: one mapping from role to text per message."""


def read_probes(name: str) -> Any:
    """Read the file `NAME.yaml` of this folder."""
    return read_yaml(Path(__file__).with_name(f"{name}.yaml"), "probes")


def fill_dialogue(dialogue: ProbeDialogue, **values: str) -> tuple[Message, ...]:
    """Fill in the placeholders of a dialogue. Raises `KeyError` for a placeholder without value."""
    return tuple(Message(role, text.format(**values)) for message in dialogue for role, text in message.items())
