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
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from turnwise.core.errors import InvalidData, did_you_mean
from turnwise.data.fingerprint import normalised
from turnwise.data.strict_yaml import read_yaml

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Scene(BaseModel):
    """A situation. What is drawn of it is drawn anew for every dialogue, each line as likely as the others."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    weight: float = Field(1.0, gt=0)
    assistants: list[Line] = []
    users: list[Line] = []
    openers: list[Line] = Field(min_length=1)


class Scenes(BaseModel):
    """All that a file holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scenes: dict[str, Scene] = Field(min_length=1)
    goodbyes: list[Line] = ["bye", "goodbye", "bye bye", "see you", "see you then", "see you soon", "that's all"]

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
        said = f" {normalised(text)}"
        return any(said.endswith(f" {normalised(word)}") for word in self.goodbyes)


def load_scenes(path: str | Path) -> Scenes:
    """The scenes in a YAML file. Raises `InvalidData` naming the file and the key at fault."""
    try:
        return Scenes.model_validate(read_yaml(path, "scenes"))
    except ValidationError as error:
        problems = error.errors(include_url=False)
        # A misspelt key is often missing as well: the spelling is what to mend.
        problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
        raise InvalidData(f"{path}: {_explained(problem['type'], problem['loc'], problem['msg'])}") from error


def _explained(kind: str, at: tuple[int | str, ...], message: str) -> str:
    where = ".".join(map(str, at))
    if kind == "extra_forbidden":
        known: Any = Scenes if len(at) == 1 else Scene
        return f"unknown key '{where}': {did_you_mean(str(at[-1]), known.model_fields)}"
    if kind == "missing":
        return f"'{where}' is missing."
    if not at:
        return "it should hold 'scenes', by name."
    return f"'{where}': {message[0].lower()}{message[1:]}."
