"""All texts of a conversation, and a copy of it with other texts."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from turnwise.core.messages import Conversation, Message, ToolCall

MAX_DEPTH = 64  # of nested metadata and arguments; what is deeper becomes a JSON text if it has personal data


@dataclass(frozen=True, slots=True)
class FieldText:
    """A text of a conversation.

    Attributes:
        context: what the text is, such as "phone: " for the argument "phone"; it helps to detect what the text has.
        text: the text.
        is_key: True for the key of a JSON object: values are masked in it, but none is looked for.
    """

    context: str
    text: str
    is_key: bool = False


TextFunction = Callable[[FieldText], str]
Originals = Mapping[str, object]


def map_texts(
    conversation: Conversation, change: TextFunction, original: Originals | None = None
) -> tuple[Conversation, dict[str, object]]:
    """A copy with `change` applied to every text, and what cannot be restored by replacing texts, by path.

    Args:
        conversation: the conversation.
        change: returns the new text; must not depend on the order.
        original: values to use at their paths in place of changed texts, to undo an earlier change.
    """
    walk = _Walk(change, original or {})
    copy = replace(
        conversation,
        messages=walk.messages(conversation.messages, "messages"),
        rejected=walk.messages(conversation.rejected, "rejected"),
        meta=walk.meta(conversation.meta),
    )
    return copy, walk.rewritten


class _Walk:
    """Changes texts, and records what was rewritten: JSON is not restored to the letter, and numbers become texts."""

    def __init__(self, change: TextFunction, original: Originals) -> None:
        self._change, self._original = change, original
        self.rewritten: dict[str, object] = {}

    def messages(self, messages: tuple[Message, ...], path: str) -> tuple[Message, ...]:
        return tuple(self._message(message, f"{path}.{index}") for index, message in enumerate(messages))

    def meta(self, meta: Mapping[str, Any]) -> Mapping[str, Any]:
        if "meta" in self._original:
            restored = self._original["meta"]
            assert isinstance(restored, Mapping)
            return restored
        changed = self._object(meta, 0)
        if changed == meta:
            return meta
        self.rewritten["meta"] = meta
        return changed

    def _message(self, message: Message, path: str) -> Message:
        is_person = message.name is not None and message.role != "tool"
        return replace(
            message,
            content=self._text("", message.content),
            name=self._text("name: ", message.name or "") if is_person else message.name,
            tool_calls=tuple(
                self._tool_call(call, f"{path}.tool_calls.{index}") for index, call in enumerate(message.tool_calls)
            ),
        )

    def _tool_call(self, call: ToolCall, path: str) -> ToolCall:
        if path in self._original:
            return replace(call, arguments=str(self._original[path]))
        parsed = call.parsed_arguments
        if call.kind == "custom" or not isinstance(parsed, dict):
            return replace(call, arguments=self._text("", call.arguments))
        changed = self._object(parsed, 0)
        if changed == parsed:
            return call
        self.rewritten[path] = call.arguments
        separators = (", ", ": ") if '": ' in call.arguments else (",", ":")
        return replace(call, arguments=json.dumps(changed, ensure_ascii=False, separators=separators))

    def _object(self, value: Mapping[str, Any], depth: int) -> dict[str, Any]:
        return {
            self._change(FieldText("", key, is_key=True)) if isinstance(key, str) and key else key: self._value(
                entry, key, depth
            )
            for key, entry in value.items()
        }

    def _value(self, value: Any, key: str, depth: int) -> Any:
        """A JSON value with changed texts; a number that is personal data becomes its placeholder."""
        if isinstance(value, str):
            return self._text(f"{str(key).replace('_', ' ')}: ", value)
        if isinstance(value, int) and not isinstance(value, bool):
            text = str(value)
            changed = self._text(f"{str(key).replace('_', ' ')}: ", text)
            return value if changed == text else changed
        if depth < MAX_DEPTH and isinstance(value, Mapping):
            return self._object(value, depth + 1)
        if depth < MAX_DEPTH and isinstance(value, list | tuple):
            return [self._value(entry, key, depth + 1) for entry in value]
        if isinstance(value, Mapping | list | tuple):
            text = json.dumps(value, ensure_ascii=False, default=str)
            changed = self._text("", text)
            return value if changed == text else changed
        return value

    def _text(self, context: str, text: str) -> str:
        return self._change(FieldText(context, text)) if text else text
