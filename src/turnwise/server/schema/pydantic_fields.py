"""Fields of a request's body that are derived from what is declared elsewhere."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from turnwise.core.parameters import ParameterSpec
from turnwise.server.schema.response_format import GUIDED_SCHEMAS, read_guided
from turnwise.server.schema.unsupported_fields import UnsupportedField, check_parameter, parameter_json_schema

Fields = dict[str, Any]  # as pydantic's `create_model` takes them


def sampling_fields(specs: Mapping[str, ParameterSpec]) -> Fields:
    """Generation parameters, by the names that the interface gives them."""
    return {
        name: (
            Annotated[
                Any, BeforeValidator(partial(check_parameter, spec)), WithJsonSchema(parameter_json_schema(spec))
            ],
            None,
        )
        for name, spec in specs.items()
    }


def rejected_fields(table: Mapping[str, UnsupportedField]) -> Fields:
    """Fields that are known and not honoured."""
    return {
        name: (
            Annotated[
                Any,
                BeforeValidator(field.check),
                WithJsonSchema(
                    {"enum": [*field.neutral_values, None], "description": f"Not supported: {field.reason}."}
                ),
            ],
            None,
        )
        for name, field in table.items()
    }


def guided_fields() -> Fields:
    """The extensions that say what an answer must look like."""
    return {
        name: (Annotated[Any, BeforeValidator(partial(read_guided, name)), WithJsonSchema(schema)], None)
        for name, schema in GUIDED_SCHEMAS.items()
    }
