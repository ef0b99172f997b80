"""Declarations of request fields.

A field is declared once, as an attribute of a class of request fields:

    class CompletionFields(RequestBody):
        best_of: Annotated[int | None, Parameter(BEST_OF_SPEC), EXTENSION, Target("output.best_of")] = None

The annotation has the type, the bounds and the description (of a `ParameterSpec` or of pydantic's `Field`), and the
metadata that this module defines. The routes of a field are those whose body inherits the class. The JSON schema, the
OpenAPI document, the reference page (`server/field_reference.py`), the errors for invalid values and the value in the
chat request follow from the declaration.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from turnwise.core.chat_request import ChatRequest
from turnwise.core.errors import InvalidParameter
from turnwise.core.parameter_spec import MAX_STRING, ParameterGroup, ParameterSpec
from turnwise.server.error_responses import truncate

Metadata = TypeVar("Metadata")

JSON_TYPES = {int: "integer", float: "number", str: "string", bool: "boolean", dict: "object"}


class RequestBody(BaseModel):
    """Base class of request bodies. Unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """Metadata of a field that a function reads; pydantic does not validate its type.

    Attributes:
        read: takes the parsed JSON and returns the value. Raises `InvalidParameter`.
        schema: JSON schema of the field, with its description.
    """

    read: Callable[[Any], Any]
    schema: Mapping[str, Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.read, core_schema.any_schema())

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return dict(self.schema)


@dataclass(frozen=True, slots=True, eq=False)
class Parameter:
    """Metadata of a field whose bounds and description are those of a `ParameterSpec`."""

    spec: ParameterSpec

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._check, core_schema.any_schema())

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return parameter_json_schema(self.spec)

    def _check(self, value: Any) -> Any:
        """The value in the type of the parameter; None for null. Raises `InvalidParameter` with a short message."""
        spec = self.spec
        if value is None:
            return None
        try:
            return spec.check(value)
        except OverflowError:
            raise InvalidParameter(spec.name, f"'{spec.name}' must be {spec.bounds}.") from None
        except InvalidParameter as error:
            shown = repr(value)
            raise InvalidParameter(spec.name, str(error).replace(shown, truncate(shown))) from None


@dataclass(frozen=True, slots=True)
class Target:
    """Metadata of a field whose value becomes an attribute of the chat request.

    Attributes:
        path: path of the attribute in `core.chat_request.ChatRequest`, such as `output.n`. Under
            `sampling`, the name of a generation parameter.
    """

    path: str


@dataclass(frozen=True, slots=True)
class Extension:
    """Metadata of a field that is not in the published API of its routes."""


EXTENSION = Extension()


@dataclass(frozen=True, slots=True)
class PageControl:
    """Metadata of a field that the pages show in the settings panel, and that is no `Parameter`.

    Attributes:
        group: group of the panel.
        help: one short sentence for people who do not know the field.
        widget: how it is entered: text, lines of a list, a JSON object, or one of the values of the schema's `enum`.
    """

    group: ParameterGroup
    help: str
    widget: Literal["text", "lines", "json", "choice"]


def find_metadata(field: FieldInfo, metadata_type: type[Metadata]) -> Metadata | None:
    """Return the metadata of this type that a field is declared with, if any."""
    return next((entry for entry in field.metadata if isinstance(entry, metadata_type)), None)


def build_chat_request(body: RequestBody, computed: Mapping[str, Any]) -> ChatRequest:
    """Build the chat request from the fields that have a `Target`. Null leaves the default of the chat request.

    Args:
        body: the request body.
        computed: values that follow from several fields, by their paths in the chat request.
    """
    values: dict[str, Any] = {}
    for name, field in type(body).model_fields.items():
        target, value = find_metadata(field, Target), getattr(body, name)
        if target is not None and value is not None:
            values[target.path] = value
    attributes: dict[str, Any] = {}
    options: dict[str, dict[str, Any]] = {}  # such as {"output": {"n": 2}}
    for path, value in (values | dict(computed)).items():
        group, _, name = path.rpartition(".")
        (options.setdefault(group, {}) if group else attributes)[name] = value
    sampling = options.pop("sampling", {})
    defaults = ChatRequest()
    for group, changes in options.items():
        attributes[group] = replace(getattr(defaults, group), **changes)
    return replace(defaults, sampling=sampling, **attributes)


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
        number = schema | {"type": "number"}
        return {"description": spec.description, "type": "object", "additionalProperties": number}
    return {"description": spec.description, "default": spec.default, **schema}
