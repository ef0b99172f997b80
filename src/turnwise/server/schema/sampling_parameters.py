"""Request fields for the generation parameters, derived from their declarations (`core/parameters.py`)."""

from collections.abc import Collection
from typing import Annotated, Any

from turnwise.core.parameters import PARAMETER_SPECS
from turnwise.server.schema.request_field import EXTENSION, Parameter, Target

# Generation parameters that are in the published API of chat completions and completions. The others are extensions.
PUBLISHED_PARAMETERS = frozenset({
    "temperature", "top_p", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs", "seed",
    "stop",
})  # fmt: skip


def sampling_fields(*, published: Collection[str], without: Collection[str]) -> dict[str, Any]:
    """Return a field for every generation parameter, for pydantic's `create_model`.

    Args:
        published: names of the parameters that are in the published API of the route.
        without: names of the parameters that the class of the body declares itself.
    """
    fields: dict[str, Any] = {}
    for name, spec in PARAMETER_SPECS.items():
        if name not in without:
            parameter, target = Parameter(spec), Target(f"sampling.{name}")
            is_published = name in published
            fields[name] = (
                Annotated[Any, parameter, target] if is_published else Annotated[Any, parameter, target, EXTENSION],
                None,
            )
    return fields
