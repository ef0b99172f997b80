"""Tools in a conversation: for chat templates that know of them, and as text for those that do not.

As text, definitions go to the system message, or to the head of the first user message where the template shows no
system messages (Gemma 2, Mistral 7B v0.1); calls go to the end of what the assistant said, results to the user's side.
Calls are written in the default dialect.
"""

import json
from collections.abc import Sequence
from dataclasses import replace

from turnwise.core.errors import InvalidParameter, TemplateError
from turnwise.core.messages import Message
from turnwise.core.tools import Tool
from turnwise.text.rendering.content_spans import strip_sentinels
from turnwise.text.tool_call_formats import DEFAULT_FORMAT, ToolCallFormat, load_format

EXPLANATION = """\
You can call tools. Each line between <tools> and </tools> describes one, as a JSON object:
<tools>
{tools}
</tools>
To call a tool, write exactly this, with the tool's name and with arguments that its parameters allow:
<tool_call>
{{"name": "the name", "arguments": {{"the parameter": "its value"}}}}
</tool_call>
What the tool gives back is shown to you afterwards, between <tool_response> and </tool_response>."""


def reject_special_tokens(messages: Sequence[Message], tools: Sequence[Tool], special: Sequence[str]) -> None:
    """Refuse special tokens where a template writes objects, whose parts cannot be followed through it.

    Raises:
        TemplateError: a call spells one.
        InvalidParameter: a tool's definition does.
    """

    def spells(written: object) -> str | None:
        text = json.dumps(written, ensure_ascii=False)
        if text != strip_sentinels(text):
            return "a character that is none"
        return next((f"the special token {token}" for token in special if token in text), None)

    for tool in tools:
        if found := spells(tool.definition):
            raise InvalidParameter("tools", f"The definition of the tool '{tool.name}' spells {found}.")
    for message in messages:
        for call in message.tool_calls:
            if found := spells([call.id, call.name, call.arguments, call.parsed_arguments]):
                raise TemplateError(f"The arguments of a call to '{call.name[:60]}' spell {found}. Leave it out.")
        if found := spells(message.tool_call_id or ""):
            raise TemplateError(f"A 'tool_call_id' spells {found}.")


def normalize_call_ids(messages: Sequence[Message], form: ToolCallFormat) -> list[Message]:
    """The messages with the ids of calls as the template demands them."""
    return [
        replace(
            message,
            tool_calls=tuple(replace(call, id=form.call_id(call.id)) for call in message.tool_calls),
            tool_call_id=message.tool_call_id and form.call_id(message.tool_call_id),
        )
        if message.tool_calls or message.tool_call_id
        else message
        for message in messages
    ]


def write_tools_as_text(
    messages: Sequence[Message], tools: Sequence[Tool], *, results: bool, system: bool
) -> tuple[list[Message], list[int]]:
    """Messages that say with words what the others say with fields; for each of the others, which of them it became.

    With `results`, the template has a role for what tools give back, which then stays as it is. With `system`, it shows
    system messages.
    """
    laid: list[Message] = []
    places: list[int] = []
    if tools:
        text = EXPLANATION.format(tools="\n".join(_line(tool) for tool in tools))
        first = _explained_message(messages, system=system)
        if first is None:
            laid.append(Message("system" if system else "user", text))
        else:
            parts = [text, messages[first].content]
            if messages[first].role != "user":
                parts.reverse()  # after the instruction, before the question
            explained = replace(messages[first], content="\n\n".join(filter(None, parts)))
            messages = [*messages[:first], explained, *messages[first + 1 :]]
    for i, message in enumerate(messages):
        if message.role == "tool" and not results:
            result = f"<tool_response>\n{message.content}\n</tool_response>"
            if i and messages[i - 1].role == "tool":  # results of one turn are one message: many templates alternate
                laid[-1] = replace(laid[-1], content=f"{laid[-1].content}\n{result}")
            else:
                laid.append(Message("user", result))
        elif message.tool_calls:
            said = f"{message.content}\n" if message.content else ""
            laid.append(replace(message, content=said + _written(message), tool_calls=()))
        else:
            laid.append(message)
        places.append(len(laid) - 1)
    return laid, places


def _explained_message(messages: Sequence[Message], *, system: bool) -> int | None:
    """Which message takes the explanation of the tools; None where a message of its own does."""
    if messages and messages[0].role in ("system", "developer"):
        return 0
    return None if system else next((i for i, message in enumerate(messages) if message.role == "user"), None)


def _written(message: Message) -> str:
    """The calls as a model writes them."""
    form = load_format(DEFAULT_FORMAT)
    calls = [
        json.dumps({"name": call.name, form.arguments_key: call.parsed_arguments}, ensure_ascii=False)
        for call in message.tool_calls
    ]
    return f"{form.marker}{form.openings[0]}{form.separator.join(calls)}{form.closing}"


def _line(tool: Tool) -> str:
    return json.dumps(tool.definition, ensure_ascii=False)
