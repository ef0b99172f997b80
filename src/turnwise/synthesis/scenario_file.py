"""Scenes: who talks with whom, about what, and how it begins; read from YAML.

::

    scenes:
      bike_shop:
        weight: 2                                     # how often, beside the others; 1 where it is not said
        assistants: ["You are Pedalhaus support."]    # system prompts, one for each dialogue; none: without
        users: ["You are Omar. Your chain jumps."]    # likewise for the model that plays the user
        openers: ["Hello, my chain jumps."]           # first lines of the user
    goodbyes: [bye, see you]                          # a user's turn that ends with one of these is the last
"""

import random
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from turnwise.core.errors import InvalidData, InvalidParameter
from turnwise.core.strict_model import StrictModel, parse_strict_model
from turnwise.data.fingerprint import normalize_text
from turnwise.data.strict_yaml import read_yaml

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class DialogueScenario(StrictModel):
    """A situation. What is drawn of it is drawn anew for every dialogue, each line as likely as the others."""

    weight: float = Field(1.0, gt=0)
    assistants: tuple[Line, ...] = ()
    users: tuple[Line, ...] = ()
    openers: tuple[Line, ...] = Field(min_length=1)


class ScenarioFile(StrictModel):
    """All that a file holds."""

    scenes: dict[str, DialogueScenario] = Field(min_length=1)
    goodbyes: tuple[Line, ...] = ("bye", "goodbye", "bye bye", "see you", "see you then", "see you soon", "that's all")

    def draw(self, rng: random.Random) -> tuple[str, str | None, str | None, str]:
        """A scene's name, the assistant's persona, the user's, and the opener."""
        names = list(self.scenes)
        (name,) = rng.choices(names, [self.scenes[name].weight for name in names])
        scene = self.scenes[name]
        assistant = rng.choice(scene.assistants) if scene.assistants else None
        user = rng.choice(scene.users) if scene.users else None
        return name, assistant, user, rng.choice(scene.openers)

    def is_goodbye(self, text: str) -> bool:
        """Whether a turn ends with a word of parting, whatever its case and marks."""
        said = f" {normalize_text(text)}"
        return any(said.endswith(f" {normalize_text(word)}") for word in self.goodbyes)


def load_scenarios(path: str | Path) -> ScenarioFile:
    """The scenes in a YAML file. Raises `InvalidData` naming the file and the key at fault."""
    try:
        return parse_strict_model(ScenarioFile, read_yaml(path, "scenes"), origin=str(path))
    except InvalidParameter as error:
        raise InvalidData(str(error)) from error
