"""Typed access to the metadata of a GGUF file. Does not import torch."""

import math
from typing import Any

from turnwise.core.errors import UserError
from turnwise.core.json_file import preview
from turnwise.models.gguf.header import GgufArray, GgufHeader
from turnwise.models.hf_config_fields import MAX_LAYERS


class GgufMetadata:
    """The metadata of a header. A key `{arch}.x` stands for the key `x` of the file's architecture.

    The methods return `default` if the key is missing.

    Raises:
        UserError: a value has another type; a key without a default is missing.
    """

    def __init__(self, header: GgufHeader) -> None:
        self._path, self._values = header.path, header.metadata
        self.architecture = self.text("general.architecture")

    def text(self, key: str, default: str | None = None) -> str:
        """A text."""
        value = self._get(key, default)
        return value if isinstance(value, str) else self._reject(key, value, "a text")

    def optional_text(self, key: str) -> str | None:
        """A text, or None if the key is missing."""
        return self.text(key) if self.has(key) else None

    def integer(self, key: str, default: int | None = None) -> int:
        """A whole number from 0 on. A list of equal numbers, one per layer, counts as one."""
        value = self._get(key, default)
        if isinstance(value, GgufArray) and not value.is_text and 0 < value.count <= MAX_LAYERS:
            numbers = set(value.decode())
            if len(numbers) > 1:
                raise UserError(f"{self._path}: layers that differ in '{self._name(key)}' are not supported.")
            value = numbers.pop()
        return value if type(value) is int and value >= 0 else self._reject(key, value, "a whole number from 0 on")

    def optional_integer(self, key: str) -> int | None:
        """As `integer`, or None if the key is missing."""
        return self.integer(key) if self.has(key) else None

    def number(self, key: str, default: float | None = None) -> float:
        """A finite number; one that is stored in 32 bits as its shortest decimal, 1e-05 and not 9.99999974e-06."""
        value = self._get(key, default)
        if type(value) not in (int, float) or not math.isfinite(value):
            self._reject(key, value, "a number")
        return shortest_decimal(value)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._get(key, default)
        return value if isinstance(value, bool) else self._reject(key, value, "true or false")

    def texts(self, key: str, max_count: int) -> list[str]:
        """A list of at most `max_count` texts; a longer one is not decoded."""
        value = self._get(key, None)
        if not isinstance(value, GgufArray) or not value.is_text:
            self._reject(key, value, "a list of texts")
        if value.count > max_count:
            raise UserError(f"{self._path}: '{self._name(key)}' has {value.count:,} entries, more than {max_count:,}.")
        try:
            return list(value.decode())
        except UnicodeDecodeError as error:
            raise UserError(f"{self._path}: a text in '{self._name(key)}' is not UTF-8.") from error

    def numbers(self, key: str, count: int) -> list[Any]:
        """A list of `count` numbers; empty if the key is missing. One of another length is not decoded."""
        if not self.has(key):
            return []
        value = self._get(key, None)
        if not isinstance(value, GgufArray) or value.is_text:
            self._reject(key, value, "a list of numbers")
        if value.count != count:
            raise UserError(f"{self._path}: '{self._name(key)}' has {value.count:,} entries instead of {count:,}.")
        return list(value.decode())

    def has(self, key: str) -> bool:
        """True if the file has the key."""
        return self._name(key) in self._values

    def _name(self, key: str) -> str:
        return key.replace("{arch}", self.architecture) if key.startswith("{arch}") else key

    def _get(self, key: str, default: Any) -> Any:
        name = self._name(key)
        if name in self._values:
            return self._values[name]
        if default is None:
            raise UserError(f"{self._path} lacks the metadata '{name}'.")
        return default

    def _reject(self, key: str, value: Any, expected: str) -> Any:
        shown = f"an array of {value.count:,} entries" if isinstance(value, GgufArray) else preview(value)
        raise UserError(f"{self._path}: '{self._name(key)}' should be {expected}, got {shown}.")


def shortest_decimal(value: float) -> float:
    """The shortest decimal that rounds to the same 32-bit number; the value itself if it is not a 32-bit number."""
    import numpy

    with numpy.errstate(over="ignore"):
        rounded = numpy.float32(value)
    return float(str(rounded)) if float(rounded) == value else float(value)
