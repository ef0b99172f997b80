"""Generation parameters and further request fields, as the pages and other programs need them for a form."""

from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from turnwise.core.parameter_spec import PARAMETER_GROUPS, ParameterGroup, ParameterSpec
from turnwise.core.parameters import PARAMETER_SPECS
from turnwise.server.schema.chat_completion_request import ChatCompletionRequest
from turnwise.server.schema.request_field import JSON_TYPES, Extension, PageControl, Parameter, Reader, find_metadata

Widget = Literal["number", "switch", "choice", "lines", "token_map", "text", "json"]


class ParameterBody(BaseModel):
    """A generation parameter.

    `neutral` is the value without effect. `minimum` and `maximum` are inclusive bounds; with `exclusive_minimum`,
    `minimum` is excluded. `nullable` parameters may be null, `is_list` ones take a list. `is_extension` is true if the
    parameter is not in the published API of chat completions.

    The settings panel of the pages shows those with a `group`, under their `label` or name, with a `widget` and `help`,
    a sentence for people who do not know them.
    """

    name: str
    type: str
    description: str
    default: Any
    neutral: Any
    minimum: float | None
    maximum: float | None
    exclusive_minimum: bool
    nullable: bool
    is_list: bool
    group: ParameterGroup | None
    label: str
    help: str
    widget: Widget
    choices: list[Any]
    is_extension: bool

    @classmethod
    def of(cls, spec: ParameterSpec) -> "ParameterBody":
        """Convert a declared parameter."""
        choices = [False, True, *spec.literals] if spec.literals else []
        return cls(
            name=spec.name, type=JSON_TYPES[spec.kind], description=spec.description, default=spec.default,
            neutral=spec.neutral, minimum=spec.minimum, maximum=spec.maximum,
            exclusive_minimum=spec.exclusive_minimum, nullable=spec.nullable, is_list=spec.is_list,
            group=spec.group, label=spec.label, help=spec.help, widget=_widget(spec), choices=choices,
            is_extension=_is_extension(_request_fields()[spec.name]),
        )  # fmt: skip


class RequestFieldBody(BaseModel):
    """A field of chat completions that is no generation parameter. The attributes are those of `ParameterBody`."""

    name: str
    description: str
    group: ParameterGroup
    label: str
    help: str
    widget: Widget
    choices: list[Any]
    minimum: float | None = None
    maximum: float | None = None
    is_extension: bool


class ParameterGroupBody(BaseModel):
    """A group of the settings panel."""

    name: ParameterGroup
    title: str


class ParameterList(BaseModel):
    """All generation parameters, further fields of the settings panel, and its groups in their order."""

    object: Literal["list"] = "list"
    data: list[ParameterBody]
    fields: list[RequestFieldBody]
    groups: list[ParameterGroupBody]

    @classmethod
    def of_chat_completions(cls) -> "ParameterList":
        """Those of `POST /v1/chat/completions`."""
        return cls(
            data=[ParameterBody.of(spec) for spec in PARAMETER_SPECS.values()],
            fields=[body for name, field in _request_fields().items() if (body := _field_body(name, field))],
            groups=[ParameterGroupBody(name=name, title=title) for name, title in PARAMETER_GROUPS.items()],
        )


def _request_fields() -> dict[str, FieldInfo]:
    return ChatCompletionRequest.model_fields


def _is_extension(field: FieldInfo) -> bool:
    return find_metadata(field, Extension) is not None


def _field_body(name: str, field: FieldInfo) -> RequestFieldBody | None:
    """Describe a field with a `PageControl`, or with a `Parameter` of the server that has a group; None for others."""
    control, reader = find_metadata(field, PageControl), find_metadata(field, Reader)
    parameter = find_metadata(field, Parameter)
    if control is not None and reader is not None:
        schema = reader.schema
        return RequestFieldBody(
            name=name, description=schema["description"], group=control.group, label="", help=control.help,
            widget=control.widget, choices=schema.get("enum", []), is_extension=_is_extension(field),
        )  # fmt: skip
    if parameter is None or parameter.spec.group is None or parameter.spec.name in (*PARAMETER_SPECS, *_ALIASES):
        return None
    spec = parameter.spec
    return RequestFieldBody(
        name=name, description=spec.description, group=spec.group, label=spec.label, help=spec.help,
        widget=_widget(spec), choices=[], minimum=spec.minimum, maximum=spec.maximum,
        is_extension=_is_extension(field),
    )  # fmt: skip


_ALIASES = ("max_completion_tokens",)  # another name of a generation parameter


def _widget(spec: ParameterSpec) -> Widget:
    if spec.is_list:
        return "lines"
    if spec.kind is dict:
        return "token_map"
    if spec.kind is bool:
        return "choice" if spec.literals else "switch"
    return "number"
