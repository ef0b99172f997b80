"""Model families: how `config.json` and the weight names of a published model map to the generic decoder.

One file per family, named after its `model_type`.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from turnwise.core.errors import UserError, did_you_mean
from turnwise.core.json_file import preview
from turnwise.core.plugins import PluginGroup
from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.weight_mappings import WeightMapping


class Family(Protocol):
    """Interface of a family file.

    Attributes:
        ARCHITECTURE: class name in `architectures` of `config.json`.
    """

    ARCHITECTURE: str

    def from_hf_config(self, hf_config: Mapping[str, Any]) -> DecoderConfig:
        """The decoder config for the content of a `config.json`."""

    def to_hf_config(self, config: DecoderConfig) -> dict[str, Any]:
        """The content of `config.json` for a decoder config: the inverse of `from_hf_config`."""

    def weight_mappings(self, config: DecoderConfig) -> list[WeightMapping]:
        """Decoder weights with their names in the published checkpoint."""


FAMILIES: PluginGroup[Family] = PluginGroup(
    "model family",
    "families",
    (__name__, __path__),
    requires=("ARCHITECTURE", "from_hf_config", "to_hf_config", "weight_mappings"),
)


def load_family(model_type: object) -> Family:
    """The family of a `model_type`, as it stands in `config.json`. Raises `UserError` for an unsupported one."""
    if not isinstance(model_type, str) or model_type not in FAMILIES.names():
        hint = did_you_mean(str(model_type), FAMILIES.names())
        raise UserError(f"Models of type {preview(model_type)} are not supported; {hint}")
    return FAMILIES.load(model_type)
