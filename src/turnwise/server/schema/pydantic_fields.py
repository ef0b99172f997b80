"""Fields of a request's body that are derived from what is declared elsewhere."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from turnwise.core.parameters import ParameterSpec
from turnwise.server.schema.unsupported_fields import Unsupported, check_sampling, sampling_schema
from turnwise.server.schema.response_format import GUIDED_SCHEMAS, read_guided

Fields = dict[str, Any]  # as pydantic's `create_model` takes them


def sampling_fields(specs: Mapping[str, ParameterSpec]) -> Fields:
    """Generation parameters, by the names that the interface gives them."""
    return {
        name: (
            Annotated[Any, BeforeValidator(partial(check_sampling, spec)), WithJsonSchema(sampling_schema(spec))],
            None,
        )
        for name, spec in specs.items()
    }


def refused_fields(table: Mapping[str, Unsupported]) -> Fields:
    """Fields that are known and not honoured."""
    return {
        name: (
            Annotated[
                Any,
                BeforeValidator(field.check),
                WithJsonSchema({"enum": [*field.passes, None], "description": f"Not supported: {field.why}."}),
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
