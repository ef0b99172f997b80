"""Renders messages as text with a chat template, and determines which roles and fields the template supports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from turnwise.core.errors import TemplateError
from turnwise.core.messages import Message
from turnwise.core.tools import Tool
from turnwise.text.chat_templates.chat_template import apply_chat_template
from turnwise.text.rendering.content_spans import strip_sentinels
from turnwise.text.rendering.tool_prompt import normalize_call_ids, write_tools_as_text
from turnwise.text.tool_call_formats import DEFAULT_FORMAT, ToolCallFormat, detect_format, load_format


@dataclass(frozen=True, slots=True)
class TemplateInput:
    """Messages and variables in the form that a template supports.

    Attributes:
        messages: messages for the template.
        indices: for each original message, the index of the message that contains it.
        variables: further variables of the template.
    """

    messages: Sequence[Message]
    indices: Sequence[int]
    variables: Mapping[str, Any] | None


@dataclass(frozen=True)
class TemplateRenderer:
    """Renders messages as text with one chat template.

    Attributes:
        source: the Jinja template.
        special_tokens_map: named special tokens (`bos_token`, …), which are variables of the template.
        special_tokens: texts of all special tokens.
    """

    source: str
    special_tokens_map: Mapping[str, str]
    special_tokens: Sequence[str]

    def apply(
        self,
        messages: Sequence[Message],
        *,
        variables: Mapping[str, Any] | None = None,
        add_generation_prompt: bool = False,
    ) -> str:
        """The output of the template.

        Raises:
            TemplateError: the template rejects the messages or fails.
        """
        return apply_chat_template(
            self.source,
            [message.as_dict() for message in messages],
            variables={**self.special_tokens_map, **(variables or {})},
            add_generation_prompt=add_generation_prompt,
        )

    @property
    def renders_tools(self) -> bool:
        """True if the template renders tools and tool calls itself, in a known format."""
        return detect_format(self.source) is not None

    @property
    def tool_call_format(self) -> ToolCallFormat:
        """The format of tool calls in the model's output."""
        return detect_format(self.source) or load_format(DEFAULT_FORMAT)

    @cached_property
    def supports_system_role(self) -> bool:
        """True if the template renders system messages. Some templates reject or omit them."""
        probe = "turnwise-probe"
        try:
            text = self.apply([Message("system", probe), Message("user", "?")], add_generation_prompt=True)
        except TemplateError:
            return False
        return probe in text

    @cached_property
    def supports_tool_role(self) -> bool:
        """True if the template starts tool messages with a special token, as Turnwise's default template does."""
        try:
            text = self.apply([Message("user", "?"), Message("tool", "?")])
        except TemplateError:
            return False
        return any("tool" in token and token in text for token in self.special_tokens)

    @cached_property
    def _default_generation_prompt(self) -> str:
        return self._find_generation_prompt(None)

    def generation_prompt(self, variables: Mapping[str, Any] | None = None) -> str:
        """The text that opens an assistant message; empty if it cannot be determined."""
        return self._find_generation_prompt(variables) if variables else self._default_generation_prompt

    def _find_generation_prompt(self, variables: Mapping[str, Any] | None) -> str:
        probe = [Message("user", "?")]
        try:
            without, with_prompt = (
                self.apply(probe, variables=variables, add_generation_prompt=add) for add in (False, True)
            )
        except TemplateError:
            return ""
        return with_prompt.removeprefix(without) if with_prompt.startswith(without) else ""

    def prepare_input(
        self, messages: Sequence[Message], variables: Mapping[str, Any] | None, tools: Sequence[Tool]
    ) -> TemplateInput:
        """Convert messages and tools to what the template supports: fields, or text in the contents."""
        messages = [_replace_sentinels(message) for message in messages]
        if self.renders_tools:
            messages = normalize_call_ids(messages, self.tool_call_format)
            if tools:
                variables = {**(variables or {}), "tools": [dict(tool.definition) for tool in tools]}
        elif tools or any(message.tool_calls or message.role == "tool" for message in messages):
            messages, indices = write_tools_as_text(
                messages, tools, has_tool_role=self.supports_tool_role, has_system_role=self.supports_system_role
            )
            return TemplateInput(messages, indices, variables)
        return TemplateInput(messages, range(len(messages)), variables)


def _replace_sentinels(message: Message) -> Message:
    """The message with U+FFFD for characters that are used as sentinels."""
    name = message.name and strip_sentinels(message.name, "\ufffd")
    return replace(message, content=strip_sentinels(message.content, "\ufffd"), name=name)
