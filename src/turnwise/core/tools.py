"""Tools that a model may call, and the tool choice: plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from turnwise.core.messages import CUSTOM_INPUT_KEY, ToolKind

GrammarSyntax = Literal["text", "regex", "lark"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool of a request.

    Attributes:
        name: function name.
        param: path of the tool in the request. Error messages name it.
        kind: "function" takes a JSON object, "custom" takes free text.
        schema: JSON schema of a function's arguments.
        syntax: notation of a custom tool's `grammar`; "text" allows any text.
        grammar: grammar of a custom tool's input.
        definition: the tool in OpenAI's format, for chat templates.
    """

    name: str
    param: str = "tools"
    kind: ToolKind = "function"
    schema: Mapping[str, Any] = field(default_factory=dict)
    syntax: GrammarSyntax = "text"
    grammar: str = ""
    definition: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_function(cls, definition: Mapping[str, Any], param: str = "tools") -> "Tool":
        """Create a tool from a function definition: `name`, `description`, `parameters` (a JSON schema), `strict`.

        Serving and training use this method, so both render the same text.
        """
        schema = definition.get("parameters")
        if schema is None:  # OpenAI reference: omitting `parameters` defines a function without arguments
            schema = {"type": "object", "properties": {}, "additionalProperties": False}
        function = {key: value for key, value in definition.items() if value is not None} | {"parameters": schema}
        return cls(
            definition["name"],
            param,
            schema={**schema, "type": "object"},
            definition={"type": "function", "function": function},
        )

    @property
    def arguments_schema(self) -> dict[str, Any]:
        """JSON schema of the arguments. A custom tool has one string argument, `CUSTOM_INPUT_KEY`."""
        if self.kind == "function":
            return dict(self.schema)
        text: dict[str, Any] = {"type": "string"}
        if self.syntax == "regex":
            text["pattern"] = f"^(?:{self.grammar})$"
        return {
            "type": "object",
            "properties": {CUSTOM_INPUT_KEY: text},
            "required": [CUSTOM_INPUT_KEY],
            "additionalProperties": False,
        }


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether the model may or must call a tool. `tool_names` restricts the tools; None allows all."""

    mode: Literal["none", "auto", "required"] = "auto"
    tool_names: tuple[str, ...] | None = None


AUTO_TOOL_CHOICE = ToolChoice()


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A part of tool call `index` of a choice: the first one has `id` and `name`, later ones append to `arguments`."""

    index: int
    arguments: str = ""
    id: str | None = None
    name: str | None = None
    kind: ToolKind = "function"
