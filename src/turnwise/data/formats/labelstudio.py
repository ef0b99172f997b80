"""Label Studio: tasks with "data" and "annotations"; a written answer is the reply, else the data holds a dialogue."""

from collections.abc import Iterator, Mapping
from typing import Any

from turnwise.core.messages import Conversation, Message
from turnwise.data.columns import PROMPT_COLUMNS, find_column
from turnwise.data.parse_context import ParseContext
from turnwise.data.parse_turns import is_turn_list, parse_turns
from turnwise.data.rows import RowError, make_conversation, require_mapping, require_text

EXPECTED = '{"data": {"prompt": "…"}, "annotations": [{"result": [{"type": "textarea", "value": {"text": ["…"]}}]}]}'
EXAMPLE = """\
[{"id": 1, "data": {"prompt": "Is the mill open?"},
  "annotations": [{"id": 7, "result": [{"from_name": "response", "to_name": "prompt", "type": "textarea",
    "value": {"text": ["Until six."]}}]}]}]
"""


def matches(value: Any) -> float:
    """Certain for a task with annotations."""
    if not isinstance(value, dict) or not isinstance(value.get("data"), dict):
        return 0.0
    return 1.0 if isinstance(value.get("annotations"), list) else 0.0


def parse(value: Any, context: ParseContext) -> Conversation:
    """Parse one task. Raises `RowError`."""
    row = require_mapping(value)
    data = require_mapping(row.get("data"))
    key = next((key for key, entry in data.items() if is_turn_list(entry)), None)
    answers = list(_answers(row.get("annotations")))
    prompt = find_column(data, (*PROMPT_COLUMNS, "text"))
    if key is None and (prompt is None or not answers):
        raise RowError("its data holds no dialogue, and no annotation is a written answer")
    used = {key or prompt or ""}
    messages = (
        parse_turns(data[key], key, context)
        if key
        else [Message("user", require_text(data[prompt or ""], f"'{prompt}'"))]
    )
    if answers and (not messages or messages[-1].role == "user"):
        messages.append(Message("assistant", answers[0]))
    return make_conversation(messages, context.metadata_of(data, used))


def _answers(annotations: Any) -> Iterator[str]:
    """Yield the written answers of all annotators."""
    for annotation in annotations if isinstance(annotations, list) else []:
        if not isinstance(annotation, Mapping) or annotation.get("was_cancelled"):  # the annotator skipped the task
            continue
        results = annotation.get("result")
        for result in results if isinstance(results, list) else []:
            value = result.get("value") if isinstance(result, dict) else None
            texts = value.get("text") if isinstance(value, dict) and result.get("type") == "textarea" else None
            texts = [texts] if isinstance(texts, str) else texts
            yield from (entry for entry in texts or () if isinstance(texts, list) and isinstance(entry, str))
