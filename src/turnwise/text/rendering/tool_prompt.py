"""Tools in prompts: checks for templates that render tools, and tools as text for templates that do not.

As text, the definitions go to the system message, or to the start of the first user message if the template does not
support system messages (Gemma 2, Mistral 7B v0.1). Tool calls are appended to the assistant's content, and tool results
become user messages. Calls are written in the default format.
"""

import json
from collections.abc import Sequence
from dataclasses import replace

from turnwise.core.errors import InvalidParameter, TemplateError
from turnwise.core.exchanges import SYSTEM_ROLES
from turnwise.core.messages import Message
from turnwise.core.tools import Tool
from turnwise.text.rendering.content_spans import strip_sentinels
from turnwise.text.tool_call_formats import DEFAULT_FORMAT, ToolCallFormat, load_format

# Models are trained with this text. A change alters the prompts of every model without a tool template.
INSTRUCTIONS = """\
You can call tools. Each line between <tools> and </tools> describes one, as a JSON object:
<tools>
{tools}
</tools>
To call a tool, write exactly this, with the tool's name and with arguments that its parameters allow:
<tool_call>
{{"name": "the name", "arguments": {{"the parameter": "its value"}}}}
</tool_call>
What the tool gives back is shown to you afterwards, between <tool_response> and </tool_response>."""


def reject_special_tokens(messages: Sequence[Message], tools: Sequence[Tool], special_tokens: Sequence[str]) -> None:
    """Reject special tokens in tool definitions, calls and call ids.

    Templates render these as JSON, so the text cannot be followed through the template as contents can.

    Raises:
        TemplateError: a tool call or a call id contains a special token.
        InvalidParameter: a tool definition contains a special token.
    """

    def find_forbidden(value: object) -> str | None:
        text = json.dumps(value, ensure_ascii=False)
        if text != strip_sentinels(text):
            return "a Unicode noncharacter"
        return next((f"the special token {token}" for token in special_tokens if token in text), None)

    for tool in tools:
        if forbidden := find_forbidden(tool.definition):
            raise InvalidParameter("tools", f"The definition of the tool '{tool.name}' contains {forbidden}.")
    for message in messages:
        for call in message.tool_calls:
            if forbidden := find_forbidden([call.id, call.name, call.arguments, call.parsed_arguments]):
                raise TemplateError(f"The arguments of a call to '{call.name[:60]}' contain {forbidden}. Remove it.")
        if forbidden := find_forbidden(message.tool_call_id or ""):
            raise TemplateError(f"A 'tool_call_id' contains {forbidden}.")


def normalize_call_ids(messages: Sequence[Message], tool_call_format: ToolCallFormat) -> list[Message]:
    """The messages with call ids in the form that the template requires."""
    convert = tool_call_format.call_id
    return [
        replace(
            message,
            tool_calls=tuple(replace(call, id=convert(call.id)) for call in message.tool_calls),
            tool_call_id=message.tool_call_id and convert(message.tool_call_id),
        )
        if message.tool_calls or message.tool_call_id
        else message
        for message in messages
    ]


def write_tools_as_text(
    messages: Sequence[Message], tools: Sequence[Tool], *, has_tool_role: bool, has_system_role: bool
) -> tuple[list[Message], list[int]]:
    """Write tool definitions, calls and results into the contents of messages.

    Args:
        messages: messages of the conversation.
        tools: tools that the model may call.
        has_tool_role: the template supports tool messages, so they stay as they are.
        has_system_role: the template supports system messages.

    Returns:
        The new messages, and for each original message the index of the new one that contains it.
    """
    result: list[Message] = []
    indices: list[int] = []
    if tools:
        instructions = INSTRUCTIONS.format(tools="\n".join(_to_json(tool) for tool in tools))
        index = _instructions_index(messages, has_system_role=has_system_role)
        if index is None:
            result.append(Message("system" if has_system_role else "user", instructions))
        else:
            parts = [instructions, messages[index].content]
            if messages[index].role != "user":
                parts.reverse()  # after the system prompt, but before a question
            extended = replace(messages[index], content="\n\n".join(filter(None, parts)))
            messages = [*messages[:index], extended, *messages[index + 1 :]]
    for i, message in enumerate(messages):
        if message.role == "tool" and not has_tool_role:
            response = f"<tool_response>\n{message.content}\n</tool_response>"
            if i and messages[i - 1].role == "tool":  # one message for all results: many templates require alternation
                result[-1] = replace(result[-1], content=f"{result[-1].content}\n{response}")
            else:
                result.append(Message("user", response))
        elif message.tool_calls:
            content = f"{message.content}\n" if message.content else ""
            result.append(replace(message, content=content + _calls_as_text(message), tool_calls=()))
        else:
            result.append(message)
        indices.append(len(result) - 1)
    return result, indices


def _instructions_index(messages: Sequence[Message], *, has_system_role: bool) -> int | None:
    """Index of the message that the instructions are added to; None if they need a message of their own."""
    if messages and messages[0].role in SYSTEM_ROLES:
        return 0
    return None if has_system_role else next((i for i, message in enumerate(messages) if message.role == "user"), None)


def _calls_as_text(message: Message) -> str:
    """The tool calls as a model generates them in the default format."""
    tool_call_format = load_format(DEFAULT_FORMAT)
    calls = [
        json.dumps({"name": call.name, tool_call_format.arguments_key: call.parsed_arguments}, ensure_ascii=False)
        for call in message.tool_calls
    ]
    start = f"{tool_call_format.marker}{tool_call_format.openings[0]}"
    return f"{start}{tool_call_format.separator.join(calls)}{tool_call_format.closing}"


def _to_json(tool: Tool) -> str:
    return json.dumps(tool.definition, ensure_ascii=False)
