"""The declaration of one generation parameter: its type, bounds and description, and the check of a value."""

import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from turnwise.core.errors import InvalidParameter

MAX_LOGIT_BIAS_ENTRIES = 1024
MAX_STRING = 4096  # characters of a string; every token of an answer is compared with it
ParameterGroup = Literal["basic", "sampling", "repetition", "words", "search", "format", "context"]
# Titles of the groups, in the order of the settings panel.
PARAMETER_GROUPS: Mapping[ParameterGroup, str] = {
    "basic": "Basic",
    "sampling": "Choice of words",
    "repetition": "Repetition",
    "words": "Words and length",
    "search": "Beam and contrastive search",
    "format": "Format of the answer",
    "context": "Long conversations",
}
_TOKEN_ID = re.compile("[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """Declaration of a parameter.

    Attributes:
        name: its name in the API, on the command line and in `generation_config.json`.
        kind: type of the value; `dict` for a map from token ids to numbers.
        default: the default of the API.
        description: one sentence for people.
        minimum: smallest value; excluded if `exclusive_minimum` is true.
        maximum: largest value; for lists, the maximum number of entries.
        exclusive_minimum: True if `minimum` itself is not allowed.
        neutral: value without any effect.
        nullable: True if null is allowed.
        is_list: True if the value is one entry of type `kind` or a list of them.
        group: group of the settings panel in which the pages show it, one of `PARAMETER_GROUPS`; None: not shown.
        label: its name in the settings panel; empty: the name of the parameter.
        help: one short sentence for people who do not know the field, shown in the settings panel.
        has_cli_flag: True if it has a command-line flag.
        literals: strings that are allowed besides values of type `kind`.
        sampling_only: True if it only affects random sampling, so that searches ignore it.
    """

    name: str
    kind: type
    default: Any
    description: str
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False
    neutral: Any = None
    nullable: bool = False
    is_list: bool = False
    group: ParameterGroup | None = None
    label: str = ""
    help: str = ""
    has_cli_flag: bool = True
    literals: tuple[str, ...] = ()
    sampling_only: bool = False

    @property
    def bounds(self) -> str:
        """The bounds in words, such as "at least 0"."""
        limits = (self.minimum or 0, self.maximum or 0)
        minimum, maximum = (f"{limit:,}" if isinstance(limit, int) else f"{limit:g}" for limit in limits)
        if self.minimum is None:
            return "" if self.maximum is None else f"at most {maximum}"
        if self.maximum is None:
            return f"{'greater than' if self.exclusive_minimum else 'at least'} {minimum}"
        if self.exclusive_minimum:
            return f"greater than {minimum} and at most {maximum}"
        return f"between {minimum} and {maximum}"

    def check(self, value: Any) -> Any:
        """Convert `value` to the parameter's type. Raises `InvalidParameter` for another type or out of bounds."""
        if value is None:
            if self.nullable:
                return None
            raise InvalidParameter(self.name, f"'{self.name}' must not be null.")
        if isinstance(value, str) and value in self.literals:
            return value
        if self.is_list:
            return self._check_list(value)
        if self.kind is dict:
            return self._check_token_map(value)
        return self._check_value(value)

    def _check_list(self, value: Any) -> tuple[Any, ...]:
        values = (value,) if isinstance(value, self.kind) else value
        noun = {str: "string", int: "whole number"}.get(self.kind, self.kind.__name__)
        if not isinstance(values, list | tuple):
            raise InvalidParameter(self.name, f"'{self.name}' must be a {noun} or a list of them.")
        if self.maximum is not None and len(values) > self.maximum:
            requirement = f"takes at most {self.maximum:g} entries, got {len(values)}"
            raise InvalidParameter(self.name, f"'{self.name}' {requirement}.")
        for entry in values:
            if not isinstance(entry, self.kind) or isinstance(entry, bool) or entry == "":
                nouns = "non-empty strings" if self.kind is str else f"{noun}s"
                raise InvalidParameter(self.name, f"'{self.name}' must contain {nouns}.")
            if isinstance(entry, str) and len(entry) > MAX_STRING:
                raise InvalidParameter(self.name, f"'{self.name}' takes strings of up to {MAX_STRING:,} characters.")
            if isinstance(entry, int) and entry < 0:
                raise InvalidParameter(self.name, f"'{self.name}' must contain token ids of at least 0.")
        return tuple(values)

    def _check_token_map(self, value: Any) -> tuple[tuple[int, float], ...]:
        """Token ids, which JSON writes as strings, mapped to numbers; returned as sorted pairs, which are hashable."""
        if isinstance(value, tuple):  # already converted
            value = dict(value)
        if not isinstance(value, Mapping):
            raise InvalidParameter(self.name, f"'{self.name}' must be an object of token ids and numbers.")
        if len(value) > MAX_LOGIT_BIAS_ENTRIES:
            raise InvalidParameter(
                self.name, f"'{self.name}' takes at most {MAX_LOGIT_BIAS_ENTRIES} tokens, got {len(value)}."
            )
        pairs = {}
        for token, number in value.items():
            id = int(token) if _TOKEN_ID.fullmatch(str(token)) else -1
            if id < 0:
                got = reprlib.repr(token)
                raise InvalidParameter(self.name, f"'{self.name}' must have token ids as keys, got {got}.")
            pairs[id] = float(self._check_value(number))
        return tuple(sorted(pairs.items()))

    def _check_value(self, value: Any) -> Any:
        got = reprlib.repr(value)
        if self.kind is bool:
            if not isinstance(value, bool):
                choices = " or ".join(["true, false" if self.literals else "true or false", *map(repr, self.literals)])
                raise InvalidParameter(self.name, f"'{self.name}' must be {choices}, got {got}.")
            return value
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if self.kind is int and not (number and (isinstance(value, int) or value.is_integer())):
            raise InvalidParameter(self.name, f"'{self.name}' must be a whole number, got {got}.")
        if self.kind in (float, dict) and not number:
            raise InvalidParameter(self.name, f"'{self.name}' must be a number, got {got}.")
        below = self.minimum is not None and (value <= self.minimum if self.exclusive_minimum else value < self.minimum)
        above = self.maximum is not None and value > self.maximum
        if below or above or value != value:
            raise InvalidParameter(self.name, f"'{self.name}' must be {self.bounds}, got {got}.")
        return value if self.kind is dict else self.kind(value)
