"""Sampling presets: values for what neither a request nor a model's own configuration sets.

The API keeps the published defaults (temperature 1, no filter, no bound on length), so that a request means the same
here as elsewhere. A person who types into the page or the terminal has set nothing, and a small model sampled from its
whole distribution answers badly; `docs/experiments.md` has the measurement behind the values of "chat".
"""

from collections.abc import Mapping
from typing import Any, Literal

from turnwise.core.parameters import PARAMETER_SPECS

SamplingPreset = Literal["api", "chat"]

# The bound keeps a model that does not end its turn from filling the context.
CHAT_SAMPLING: Mapping[str, Any] = {"temperature": 0.7, "min_p": 0.1}
CHAT_MAX_TOKENS = 1024

_DECODING = {name for name, spec in PARAMETER_SPECS.items() if spec.sampling_only} | {"num_beams", "penalty_alpha"}


def apply_sampling_preset(preset: SamplingPreset, model_defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A model's generation parameters with the preset's values where the model sets none.

    A model that says anything about how it is decoded (a temperature, a filter, beams) keeps exactly that.
    """
    resolved = dict(model_defaults)
    if preset == "chat":
        if not _DECODING & {name for name, value in resolved.items() if value is not None}:
            resolved |= CHAT_SAMPLING
        resolved.setdefault("max_tokens", CHAT_MAX_TOKENS)
    return resolved
