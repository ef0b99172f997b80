"""Generation parameters, each declared once.

The HTTP schema, the command-line flags, the controls of the chat page and the docs are derived from `SPECS`, so a
parameter is added here, plus its rule in `engine/rules/` where it shapes the distribution, and nowhere else.
"""

import dataclasses
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from turnwise.core.errors import InvalidParameter, did_you_mean


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """What is known of a parameter: its type, bounds, the value that switches it off, and a sentence of help.

    `low` and `high` are inclusive unless `low_open` is set. `off` is the value under which the parameter has no effect.
    """

    name: str
    kind: type
    default: Any
    help: str
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    off: Any = None
    optional: bool = False
    many: bool = False
    control: bool = False  # shown among the sampling controls of the chat page

    @property
    def bounds(self) -> str:
        """The bounds as a person would say them."""
        ends = (self.low or 0, self.high or 0)
        low, high = (str(end) if isinstance(end, int) else f"{end:g}" for end in ends)
        if self.low is None:
            return "" if self.high is None else f"at most {high}"
        if self.high is None:
            return f"{'greater than' if self.low_open else 'at least'} {low}"
        if self.low_open:
            return f"greater than {low} and at most {high}"
        return f"between {low} and {high}"

    def check(self, value: Any) -> Any:
        """Return `value` in the parameter's type; raise `InvalidParameter` where it is not of it or out of bounds."""
        if value is None:
            if self.optional:
                return None
            raise InvalidParameter(self.name, f"'{self.name}' must not be null.")
        if self.many:
            return self._check_many(value)
        return self._check_one(value)

    def _check_many(self, value: Any) -> tuple[Any, ...]:
        values = (value,) if isinstance(value, self.kind) else value
        noun = {str: "string", int: "whole number"}.get(self.kind, self.kind.__name__)
        if not isinstance(values, list | tuple):
            raise InvalidParameter(self.name, f"'{self.name}' must be a {noun} or a list of them.")
        if self.high is not None and len(values) > self.high:
            raise InvalidParameter(self.name, f"'{self.name}' takes at most {self.high:g} entries, got {len(values)}.")
        for entry in values:
            if not isinstance(entry, self.kind) or entry == "":
                raise InvalidParameter(self.name, f"'{self.name}' must hold {noun}s that are not empty.")
        return tuple(values)

    def _check_one(self, value: Any) -> Any:
        said = reprlib.repr(value)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if self.kind is int and not (number and (isinstance(value, int) or value.is_integer())):
            raise InvalidParameter(self.name, f"'{self.name}' must be a whole number, got {said}.")
        if self.kind is float and not number:
            raise InvalidParameter(self.name, f"'{self.name}' must be a number, got {said}.")
        below = self.low is not None and (value <= self.low if self.low_open else value < self.low)
        above = self.high is not None and value > self.high
        if below or above or value != value:
            raise InvalidParameter(self.name, f"'{self.name}' must be {self.bounds}, got {said}.")
        return self.kind(value)


def _parameter(kind: type, default: Any, help: str, **more: Any) -> Any:
    return field(default=default, metadata={"kind": kind, "help": help, **more})


@dataclass(frozen=True, slots=True)
class GenerationParams:
    """How the next turn is decoded. Values are checked on construction; see `SPECS` for bounds and help."""

    max_tokens: int | None = _parameter(
        int, None, "Most tokens to generate; unset: as many as the context still holds.", low=1, optional=True,
        control=True,
    )  # fmt: skip
    temperature: float = _parameter(
        float, 1.0, "Divides the logits before sampling; 0 is greedy decoding.", low=0, high=2, off=1.0, control=True
    )
    top_k: int = _parameter(
        int, 0, "Sample among the k likeliest tokens only; 0 switches it off.", low=0, high=1_000_000, off=0,
        control=True,
    )  # fmt: skip
    top_p: float = _parameter(
        float, 1.0, "Sample from the smallest set of tokens whose probability reaches p (nucleus).",
        low=0, high=1, low_open=True, off=1.0, control=True,
    )  # fmt: skip
    seed: int | None = _parameter(
        int, None, "Makes sampling repeatable; unset: a fresh seed for every request.",
        low=-(2**63), high=2**63 - 1, optional=True, control=True,
    )  # fmt: skip
    stop: tuple[str, ...] = _parameter(
        str, (), "Up to four strings at which the answer ends; they are not part of it.", high=4, many=True
    )

    def __post_init__(self) -> None:
        for spec in SPECS.values():
            object.__setattr__(self, spec.name, spec.check(getattr(self, spec.name)))

    @classmethod
    def resolve(cls, asked: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> "GenerationParams":
        """Parameters from what was asked over a model's own defaults.

        Args:
            asked: what the person said; a null counts as not said. Unknown names raise `InvalidParameter`.
            defaults: what the model prefers, for instance its `generation_config.json`; unknown names are not ours
                to judge there and are left out.
        """
        for name in asked:
            if name not in SPECS:
                raise InvalidParameter(name, f"Unknown parameter '{name}': {did_you_mean(name, SPECS)}")
        chosen = {name: value for name, value in (defaults or {}).items() if name in SPECS and value is not None}
        chosen.update({name: value for name, value in asked.items() if value is not None})
        return cls(**chosen)


def _specs() -> dict[str, ParameterSpec]:
    return {
        f.name: ParameterSpec(name=f.name, default=f.default, **f.metadata)
        for f in dataclasses.fields(GenerationParams)
    }


SPECS: dict[str, ParameterSpec] = _specs()
