"""Config of the generic decoder: sizes, and a switch for every difference between the supported families."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from turnwise.core.errors import InvalidParameter
from turnwise.core.json_file import preview

SIZES = (
    "vocab_size", "hidden_size", "intermediate_size", "num_layers", "num_heads", "num_kv_heads", "head_dim",
    "context_length",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RopeConfig:
    """Rotary position embeddings (Su et al. 2021) and their scaling to longer contexts.

    `rope_type` is "default", "linear" (positions divided by `factor`, Chen et al. 2023) or "llama3" (low frequencies
    divided by `factor`, high ones unchanged, interpolated between; Llama 3.1).
    """

    theta: float = 10_000.0
    rope_type: Literal["default", "linear", "llama3"] = "default"
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_positions: int = 8192


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """A decoder-only transformer.

    Raises:
        InvalidParameter: a size is not a positive integer, or sizes do not match.
    """

    family: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    context_length: int
    norm: Literal["rms", "layer"] = "rms"
    norm_eps: float = 1e-5
    positions: Literal["rope", "learned"] = "rope"
    rope: RopeConfig = field(default_factory=RopeConfig)
    activation: Literal["silu", "gelu_tanh"] = "silu"
    gated_mlp: bool = True
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    tied: bool = True
    sliding_window: int | None = None  # tokens that a windowed layer attends to, the present one included
    windowed_layers: frozenset[int] = frozenset()
    no_rope_layers: frozenset[int] = frozenset()  # layers without position embeddings (NoPE)
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        for name in SIZES:
            if not isinstance(size := getattr(self, name), int) or size < 1:
                raise InvalidParameter(name, f"'{name}' must be a whole number of at least 1, got {size!r}.")
        if self.num_heads % self.num_kv_heads:
            raise InvalidParameter(
                "num_kv_heads",
                f"'num_heads' ({self.num_heads}) must be a multiple of 'num_kv_heads' ({self.num_kv_heads}).",
            )
        if self.head_dim % 2 and self.positions == "rope":
            raise InvalidParameter("head_dim", f"Rotary positions need an even head size, got {self.head_dim}.")

    @property
    def layer_windows(self) -> tuple[int | None, ...]:
        """The sliding window of each layer, or None for full attention."""
        return tuple(self.sliding_window if i in self.windowed_layers else None for i in range(self.num_layers))


def rope_from_hf_config(hf_config: Mapping[str, Any], *, theta: float = 10_000.0) -> RopeConfig:
    """The rotary settings of a `config.json`, in the older form (`rope_theta`, `rope_scaling`) or the newer one
    (`rope_parameters`).

    Args:
        hf_config: contents of `config.json`.
        theta: the family's default of `rope_theta`.

    Raises:
        InvalidParameter: a rotary setting that is not supported.
    """
    parameters = hf_config.get("rope_parameters") or {}
    scaling = parameters or hf_config.get("rope_scaling") or {}
    theta = float(parameters.get("rope_theta") or hf_config.get("rope_theta") or theta)
    rotary_factor = scaling.get("partial_rotary_factor") or hf_config.get("partial_rotary_factor") or 1.0
    if rotary_factor != 1.0 or any(isinstance(value, Mapping) for value in scaling.values()):
        raise InvalidParameter(
            "rope_parameters", "Rotary positions on part of a head, or different ones by layer, are not supported."
        )
    rope_type = scaling.get("rope_type") or scaling.get("type") or "default"
    if rope_type == "default":
        return RopeConfig(theta)
    if rope_type == "linear":
        return RopeConfig(theta, "linear", float(scaling["factor"]))
    if rope_type == "llama3":
        low, high = float(scaling["low_freq_factor"]), float(scaling["high_freq_factor"])
        if low >= high:
            raise InvalidParameter(
                "rope_scaling", f"'low_freq_factor' should be below 'high_freq_factor', got {low:g} and {high:g}."
            )
        original_max_positions = int(scaling["original_max_position_embeddings"])
        return RopeConfig(theta, "llama3", float(scaling["factor"]), low, high, original_max_positions)
    raise InvalidParameter(
        "rope_scaling", f"Rotary scaling {preview(rope_type)} is not supported; supported: default, linear, llama3."
    )


def rope_to_hf_config(rope: RopeConfig) -> dict[str, Any]:
    """The keys of `config.json` for these settings, in the forms of all versions of transformers."""
    if rope.rope_type == "default":
        return {"rope_theta": rope.theta, "rope_parameters": {"rope_type": "default", "rope_theta": rope.theta}}
    scaling: dict[str, Any] = {"rope_type": rope.rope_type, "factor": rope.factor}
    if rope.rope_type == "llama3":
        scaling |= {
            "low_freq_factor": rope.low_freq_factor,
            "high_freq_factor": rope.high_freq_factor,
            "original_max_position_embeddings": rope.original_max_positions,
        }
    return {
        "rope_theta": rope.theta,
        "rope_scaling": scaling,
        "rope_parameters": {**scaling, "rope_theta": rope.theta},
    }
