"""Tools a model may call, and which of them it may or must: plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from turnwise.core.messages import CUSTOM_INPUT_KEY, ToolKind

GrammarSyntax = Literal["text", "regex", "lark"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as the request describes it.

    Attributes:
        name: what calls name it by.
        param: the place in the request where its arguments are described, which errors name.
        kind: a function takes a JSON object, a custom tool one free text.
        schema: of a function's arguments.
        syntax: the notation of a custom tool's `grammar`; "text" allows any.
        grammar: what a custom tool's input must match.
        published: the definition as chat templates want it.
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
        """The tool of a function's definition: `name`, `description`, `parameters` (a JSON schema), `strict`.

        Serving and training data both build their tools here, so a definition has the same text in both.
        """
        schema = definition.get("parameters")
        if schema is None:  # published: a function that takes no arguments
            schema = {"type": "object", "properties": {}, "additionalProperties": False}
        published = {key: value for key, value in definition.items() if value is not None} | {"parameters": schema}
        return cls(
            definition["name"],
            param,
            schema={**schema, "type": "object"},
            definition={"type": "function", "function": published},
        )

    @property
    def arguments_schema(self) -> dict[str, Any]:
        """The schema of what the model writes as arguments; a custom tool's input is one string."""
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
    """Whether the model may or must call, and which of the tools; `names` None allows all."""

    mode: Literal["none", "auto", "required"] = "auto"
    tool_names: tuple[str, ...] | None = None


AUTO_TOOL_CHOICE = ToolChoice()


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of the answer's call number `index`: its beginning, which has `id` and `name`, or more arguments."""

    index: int
    arguments: str = ""
    id: str | None = None
    name: str | None = None
    kind: ToolKind = "function"
