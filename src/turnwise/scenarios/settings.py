"""`scenario.yaml`: languages, instruction, sampling, knowledge, tools and limits of a scenario.

::

    schema_version: 1
    title: {en: Lamp shop, zh: 灯具店}
    description: {en: Answers customers of a lamp shop., zh: 回答灯具店顾客的问题。}
    languages: [en, zh]
    default_language: en
    instruction:                                   # may have slots whose values are facts
      en: You answer customers of {{ shop_name }}.
      zh: 你是{{ shop_name }}的客服。
    tone: {en: Friendly and brief., zh: 亲切简洁。}     # optional; follows the instruction
    sampling: {temperature: 0.3, max_tokens: 300}  # optional; defaults of generation parameters
    adapter: lamp-shop                             # optional; name or folder of a model or adapter
    knowledge: [knowledge]                         # optional; folders with documents
    tools: []                                      # optional; function definitions as in OpenAI's requests
    document_answers: quote                        # quote passages word for word; default: generate
    unmatched: knowledge                           # answer to a message of no intent; default: generate
    messages:                                      # optional; texts of the service
      clarify: {en: What do you mean?, zh: 您的意思是？}
      hand_off: {en: A colleague takes over., zh: 正在为您转接同事。}
      no_answer: {en: I do not know., zh: 我不知道。}   # the documents have no answer
    limits: {max_clarifications: 2}                # optional
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from turnwise.core.errors import InvalidParameter
from turnwise.core.parameters import GenerationParams
from turnwise.core.strict_model import StrictModel
from turnwise.core.tools import Tool
from turnwise.scenarios.answer_template import AnswerTemplate
from turnwise.scenarios.field_types import (
    FolderName,
    Language,
    Line,
    LocalizedLine,
    LocalizedText,
    empty_map,
    frozen_map,
)
from turnwise.scenarios.intents import AnswerKind

SCHEMA_VERSION = 1


def _check_version(version: Any) -> Any:
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise InvalidParameter(
            "schema_version", f"this version of Turnwise reads scenarios of schema_version {SCHEMA_VERSION}, "
            f"not {version!r}.",
        )  # fmt: skip
    return version


def _check_sampling(sampling: Mapping[str, Any]) -> Mapping[str, Any]:
    GenerationParams.resolve(sampling)
    return frozen_map(sampling)


def _check_tool(definition: Mapping[str, Any]) -> Mapping[str, Any]:
    function = definition.get("function")
    if definition.get("type") != "function" or not isinstance(function, dict) or not isinstance(
        function.get("name"), str
    ):  # fmt: skip
        raise InvalidParameter("tools", "a tool is {type: function, function: {name: ..., parameters: ...}}.")
    return frozen_map(definition)


class ScenarioLimits(StrictModel):
    """Limits of a conversation.

    Attributes:
        max_clarifications: questions back in a row before a person takes over.
        max_examples: few-shot dialogues in the prompt; the first ones of `examples.yaml`.
    """

    max_clarifications: int = Field(2, ge=0, le=10)
    max_examples: int = Field(4, ge=0, le=50)


class ServiceMessages(StrictModel):
    """Texts that the service says itself.

    Attributes:
        clarify: question back, for intents without a question of their own.
        hand_off: said when a person takes over.
        no_answer: said when the documents have no answer.
    """

    clarify: LocalizedLine | None = None
    hand_off: LocalizedLine | None = None
    no_answer: LocalizedLine | None = None


class ScenarioSettings(StrictModel):
    """Content of `scenario.yaml` (see the module docstring)."""

    schema_version: Annotated[Literal[1], BeforeValidator(_check_version)]
    title: LocalizedLine
    description: LocalizedText
    languages: tuple[Language, ...] = Field(min_length=1, max_length=20)
    default_language: Language
    instruction: Mapping[Language, AnswerTemplate] = Field(min_length=1)
    tone: LocalizedLine | None = None
    sampling: Annotated[Mapping[str, Any], AfterValidator(_check_sampling)] = Field(default_factory=empty_map)
    adapter: Line | None = None
    knowledge: tuple[FolderName, ...] = Field((), max_length=10)
    tool_definitions: tuple[Annotated[Mapping[str, Any], AfterValidator(_check_tool)], ...] = Field(
        (), max_length=64, alias="tools"
    )
    document_answers: Literal["generate", "quote"] = "generate"
    unmatched: AnswerKind = "generate"
    messages: ServiceMessages = ServiceMessages()
    limits: ScenarioLimits = ScenarioLimits()

    @model_validator(mode="before")
    @classmethod
    def _reject_format(cls, values: Any) -> Any:
        """A format is the chat template of a model. Scenarios share the served model, so none of them can change it."""
        if isinstance(values, dict) and "format" in values:
            raise InvalidParameter(
                "format", "'format' is not a setting of a scenario: an interaction format belongs to the model. Train "
                "the adapter with 'model.interaction_format' in its recipe, or start the server with --format.",
            )  # fmt: skip
        return values

    @model_validator(mode="after")
    def _check_languages(self) -> "ScenarioSettings":
        if self.default_language not in self.languages:
            raise InvalidParameter(
                "default_language", f"'default_language' {self.default_language} is not in 'languages'."
            )
        if self.unmatched == "template":
            raise InvalidParameter("unmatched", "'unmatched' cannot be template: a template belongs to an intent.")
        return self

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The tools as values of a chat request."""
        return tuple(Tool.from_function(definition["function"]) for definition in self.tool_definitions)
