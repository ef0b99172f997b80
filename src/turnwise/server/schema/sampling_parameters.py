"""Request fields that are derived from the declared generation parameters (`core/parameters.py`)."""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from turnwise.core.errors import InvalidParameter
from turnwise.core.parameter_spec import MAX_STRING, ParameterSpec
from turnwise.core.parameters import PARAMETER_SPECS
from turnwise.server.error_responses import truncate

CHAT_SAMPLING_FIELDS: dict[str, ParameterSpec] = {
    **PARAMETER_SPECS,
    "max_completion_tokens": dataclasses.replace(PARAMETER_SPECS["max_tokens"], name="max_completion_tokens"),
}

# Parameters of the server; the engine does not know them.
N_SPEC = ParameterSpec("n", int, 1, "Number of choices to generate.", minimum=1, maximum=128, neutral=1)
BEST_OF_SPEC = ParameterSpec(
    "best_of", int, 1,
    "Number of choices to generate; the 'n' with the highest average log-probability per token are returned.",
    minimum=1, maximum=128, neutral=1,
)  # fmt: skip
PRIORITY_SPEC = ParameterSpec(
    "priority", int, 0, "Priority among the requests of one API key; the lowest number runs first.",
    minimum=-100, maximum=100, neutral=0,
)  # fmt: skip

JSON_TYPES = {int: "integer", float: "number", str: "string", bool: "boolean", dict: "object"}


def as_pydantic_field(spec: ParameterSpec) -> tuple[Any, None]:
    """Return annotation and default for pydantic's `create_model`."""
    schema = WithJsonSchema(parameter_json_schema(spec))
    return (Annotated[Any, BeforeValidator(partial(check_parameter, spec)), schema], None)


def sampling_fields(specs: Mapping[str, ParameterSpec]) -> dict[str, Any]:
    """Return fields for pydantic's `create_model`, by the names that the API gives to the parameters."""
    return {name: as_pydantic_field(spec) for name, spec in specs.items()}


def check_parameter(spec: ParameterSpec, value: Any) -> Any:
    """Return a value in the type of the parameter; None for null. Raises `InvalidParameter` with a short message."""
    if value is None:
        return None
    try:
        return spec.check(value)
    except OverflowError:
        raise InvalidParameter(spec.name, f"'{spec.name}' must be {spec.bounds}.") from None
    except InvalidParameter as error:
        shown = repr(value)
        raise InvalidParameter(spec.name, str(error).replace(shown, truncate(shown))) from None


def resolve_best_of(best_of: int | None, n: int | None, stream: bool) -> int:
    """Return the number of choices to generate. Raises `InvalidParameter` if the fields contradict each other."""
    if best_of is None:
        return 1
    if best_of < (n or 1):
        raise InvalidParameter("best_of", f"'best_of' ({best_of}) must not be less than 'n' ({n}).")
    if stream and best_of > (n or 1):
        raise InvalidParameter(
            "best_of", "'best_of' cannot be streamed: the best choices are known only when all are complete. "
            "Leave 'stream' out.", code="unsupported_value",
        )  # fmt: skip
    return best_of


def parameter_json_schema(spec: ParameterSpec) -> dict[str, Any]:
    """Return the JSON schema of a parameter."""
    schema: dict[str, Any] = {"type": JSON_TYPES[spec.kind]}
    if spec.literals:
        types = [schema, {"enum": list(spec.literals)}]
        return {"description": spec.description, "default": spec.default, "anyOf": types}
    if spec.is_list:
        schema |= {"maxLength": MAX_STRING} if spec.kind is str else {}
        several = {"type": "array", "items": schema, "maxItems": spec.maximum}
        return {"description": spec.description, "anyOf": [schema, several]}
    if spec.minimum is not None:
        schema["exclusiveMinimum" if spec.exclusive_minimum else "minimum"] = spec.minimum
    if spec.maximum is not None:
        schema["maximum"] = spec.maximum
    if spec.kind is dict:
        return {"description": spec.description, "type": "object", "additionalProperties": schema | {"type": "number"}}
    return {"description": spec.description, "default": spec.default, **schema}
