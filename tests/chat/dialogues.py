"""Long dialogues for context policies, and an engine that answers them from a script."""

from fakes import FakeEngine

from turnwise.core.messages import Message, ToolCall


def system(content):
    return Message("system", content)


def user(content, **fields):
    return Message("user", content, **fields)


def assistant(content, **fields):
    return Message("assistant", content, **fields)


def dialogue(num_exchanges, text="The lamp in the kitchen is broken again."):
    """A system message, some exchanges and a last question."""
    exchanges = [
        message
        for i in range(num_exchanges)
        for message in (user(f"Question {i}: {text}"), assistant(f"Answer {i}: {text}"))
    ]
    return (system("Be kind."), *exchanges, user("And now?"))


CALL = ToolCall("call_1", "look", "{}")
TOOL_EXCHANGE = [
    user("a"),
    assistant("", tool_calls=(CALL,)),
    Message("tool", "r", tool_call_id="call_1"),
    assistant("b"),
]


ALTERNATING_TEMPLATE = """\
{%- for message in messages -%}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}{{ raise_exception('Roles must alternate.') }}
{%- endif -%}
{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"""


class ScriptedEngine(FakeEngine):
    """Answers with one script after the other, and repeats the last one."""

    def __init__(self, *answers, context_length=200):
        super().__init__(context_length=context_length)
        self.answers = list(answers)

    def submit(self, request, on_event):
        self.events = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return super().submit(request, on_event)


def rendered_prompt(service, index=-1):
    """The prompt of a recorded request as text."""
    return service.renderer.tokenizer.decode(service.engine.requests[index].prompt_ids, skip_special_tokens=False)
