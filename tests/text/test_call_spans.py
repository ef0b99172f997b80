"""The range of a call must hold the whole call, whatever marks the template writes as special tokens."""

import pytest

from turnwise.core.messages import Message, ToolCall
from turnwise.text.rendering.tool_call_spans import find_tool_call_spans

CALL = '[{"name": "now", "arguments": {}}]'
QUESTION = Message("user", "What time is it?")
ANSWER = Message("assistant", "", tool_calls=(ToolCall("123456789", "now", "{}"),))


@pytest.mark.parametrize(
    ("written", "special", "learned"),
    [
        (f"[TOOL_CALLS] {CALL}</s>", ["[TOOL_CALLS]", "</s>"], f"[TOOL_CALLS] {CALL}"),
        (f"[TOOL_CALLS] {CALL}", ["[TOOL_CALLS]", "</s>"], f"[TOOL_CALLS] {CALL}"),
        (f" [TOOL_CALLS] {CALL}", ["[TOOL_CALLS]", "</s>"], f" [TOOL_CALLS] {CALL}"),
        (f"\n<tool_call>{CALL}</tool_call>", ["<tool_call>", "</tool_call>", "</s>"],
         f"\n<tool_call>{CALL}</tool_call>"),
        (f"<tool_call>{CALL}</tool_call><|im_end|>\n", ["<tool_call>", "</tool_call>", "<|im_end|>"],
         f"<tool_call>{CALL}</tool_call>"),
        (f"<tool_call>{CALL}</tool_call>\n", ["<|im_end|>"], f"<tool_call>{CALL}</tool_call>"),
    ],
)  # fmt: skip
def test_the_span_of_a_call_ends_before_the_token_that_ends_the_turn(written, special, learned):
    def apply(messages, _):
        return "".join("?!" if message.role == "user" else written for message in messages)

    text, closing = apply([QUESTION, ANSWER], False), "\n</tool_call>"
    ranges = find_tool_call_spans([QUESTION, ANSWER], text, apply, [token for token in special if token not in closing])
    assert text[slice(*ranges[1])] == learned
