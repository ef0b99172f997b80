"""Scenarios of simulated dialogues, read from YAML.

::

    scenarios:
      bike_shop:
        weight: 2                                     # relative frequency; default: 1
        system_prompts: ["You are Pedalhaus support."]      # of the assistant; default: none
        user_personas: ["You are Omar. Your chain jumps."]  # system prompts of the user model; default: none
        first_messages: ["Hello, my chain jumps."]          # of the user
    goodbyes: [bye, see you]                          # the dialogue ends after a user message that ends with one

One entry of every list is drawn for a dialogue, independently and uniformly.
"""

import random
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from turnwise.core.errors import InvalidData, InvalidParameter
from turnwise.core.scenario import Scenario
from turnwise.core.strict_model import StrictModel, parse_strict_model
from turnwise.core.strict_yaml import read_yaml
from turnwise.data.fingerprint import normalize_text

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class ScenarioVariants(StrictModel):
    """Texts of which a scenario is drawn. All prompts, personas and first messages fit together."""

    weight: float = Field(1.0, gt=0)
    system_prompts: tuple[Line, ...] = ()
    user_personas: tuple[Line, ...] = ()
    first_messages: tuple[Line, ...] = Field(min_length=1)


class ScenarioFile(StrictModel):
    """Content of a scenario file."""

    scenarios: dict[str, ScenarioVariants] = Field(min_length=1)
    goodbyes: tuple[Line, ...] = ("bye", "goodbye", "bye bye", "see you", "see you then", "see you soon", "that's all")

    def draw(self, rng: random.Random) -> Scenario:
        """Draw a scenario by weight, and its prompts and first message."""
        names = list(self.scenarios)
        (name,) = rng.choices(names, [self.scenarios[name].weight for name in names])
        variants = self.scenarios[name]
        system_prompt = rng.choice(variants.system_prompts) if variants.system_prompts else None
        user_persona = rng.choice(variants.user_personas) if variants.user_personas else None
        return Scenario(name, system_prompt, user_persona, rng.choice(variants.first_messages))

    def is_goodbye(self, text: str) -> bool:
        """True if a message ends with a goodbye, ignoring case and punctuation."""
        normalized = f" {normalize_text(text)}"
        return any(normalized.endswith(f" {normalize_text(goodbye)}") for goodbye in self.goodbyes)


def load_scenarios(path: str | Path) -> ScenarioFile:
    """Load a scenario file. Raises `InvalidData` with the file and the invalid key."""
    try:
        return parse_strict_model(ScenarioFile, read_yaml(path, "scenarios"), origin=str(path))
    except InvalidParameter as error:
        raise InvalidData(str(error)) from error
