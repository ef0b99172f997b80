"""Conversations to shorten, and a generator that answers them from a script."""

from fakes import FakeGenerator

from turnwise.core.messages import Message, ToolCall


def system(said):
    return Message("system", said)


def user(said, **more):
    return Message("user", said, **more)


def assistant(said, **more):
    return Message("assistant", said, **more)


def talk(turns, said="The lamp in the kitchen is broken again."):
    """A system message, some rounds and a last question."""
    middle = [m for i in range(turns) for m in (user(f"Question {i}: {said}"), assistant(f"Answer {i}: {said}"))]
    return (system("Be kind."), *middle, user("And now?"))


CALL = ToolCall("call_1", "look", "{}")
TOOLED = [user("a"), assistant("", tool_calls=(CALL,)), Message("tool", "r", tool_call_id="call_1"), assistant("b")]


ALTERNATING = """\
{%- for message in messages -%}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}{{ raise_exception('Roles must take turns.') }}
{%- endif -%}
{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"""


class Answers(FakeGenerator):
    """Gives one scripted answer after the other."""

    def __init__(self, *answers, context_length=200):
        super().__init__(context_length=context_length)
        self.answers = list(answers)

    def submit(self, request, on_event):
        self.events = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return super().submit(request, on_event)


def read(service, at=-1):
    """What the model read."""
    return service.renderer.tokenizer.decode(service.engine.requests[at].prompt_ids, skip_special_tokens=False)
