"""One file per model family, named as its published `model_type`. The folder is the registry.

A family has four things: `ARCHITECTURE`, the published class name; `read(published) -> DecoderConfig`;
`write(config) -> dict`, the published config of a new model; and `layout(config)`, the weight names.
"""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Protocol, cast

from turnwise.core.errors import UserError, did_you_mean
from turnwise.core.json_file import preview
from turnwise.models.decoder_config import DecoderConfig

if TYPE_CHECKING:
    from turnwise.models.weight_mappings import WeightMapping  # it imports torch, which `names` does not need


class Family(Protocol):
    """What a family file offers."""

    ARCHITECTURE: str

    def from_hf_config(self, hf_config: Mapping[str, Any]) -> DecoderConfig:
        """Our config of a published one."""

    def to_hf_config(self, config: DecoderConfig) -> dict[str, Any]:
        """The published config of ours."""

    def weight_mappings(self, config: DecoderConfig) -> "list[WeightMapping]":
        """The weight names."""


def names() -> list[str]:
    """The families there are."""
    return sorted(module.name for module in iter_modules(__path__) if not module.name.startswith("_"))


def family(name: str) -> Family:
    """The family of this `model_type`.

    Raises:
        UserError: there is none.
    """
    if name not in names():
        raise UserError(f"Models of type {preview(name)} are not supported; {did_you_mean(name, names())}")
    return cast(Family, import_module(f"{__name__}.{name}"))
