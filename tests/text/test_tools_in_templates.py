"""Tools in prompts: as in transformers if the template supports them, else as text."""

import json

import pytest
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tool_templates import SPECIAL, TAGS

from turnwise.core.errors import InvalidParameter, TemplateError
from turnwise.core.messages import Message, ToolCall
from turnwise.core.tools import Tool
from turnwise.text import tool_call_formats
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

FUNCTION = {"type": "function", "function": {
    "name": "get_weather", "description": "How's the \"weather\" <there>? 你好", "strict": True,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}}  # fmt: skip
WEATHER = Tool("get_weather", definition=FUNCTION)
ROME_CALL = ToolCall("abcdefghi", "get_weather", '{"city": "Rome", "n": 1.5}')
BERN_CALL = ToolCall("123456789", "get_weather", '{"city": "Bern"}')
LOOP = [
    Message("user", "The weather in Rome?"),
    Message("assistant", "", tool_calls=(ROME_CALL,)),
    Message("tool", '"sunny"', tool_call_id="abcdefghi"),
    Message("assistant", "It is sunny."),
    Message("user", "And in Bern?"),
]


@pytest.fixture(scope="module")
def renderer_of(made_tokenizer, tokenizer):
    """`renderer_of(name)` for templates that support tools. "turnwise" supports only the tool role."""
    made = {"turnwise": Renderer.from_tokenizer(tokenizer)}

    def get(name):
        if name not in made:
            template, special, named = SPECIAL[name]
            made[name] = Renderer.from_tokenizer(Tokenizer(made_tokenizer(special), named, template))
        return made[name]

    return get


@pytest.fixture(scope="module")
def chatml(made_tokenizer):
    """The renderer of a template without tools."""
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    return Renderer.from_tokenizer(
        Tokenizer(made_tokenizer(["<|im_start|>", "<|im_end|>"]), {"eos_token": "<|im_end|>"}, template)
    )


def text_of(renderer, messages, **options):
    return renderer.tokenizer.decode(renderer.render(messages, **options).ids, skip_special_tokens=False)


def apply_with_transformers(renderer, messages, **options):
    """What transformers makes of it."""
    tokenizer = renderer.tokenizer
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend, **tokenizer.special_tokens_map)
    wrapped.chat_template = tokenizer.chat_template
    tokenizer.backend.encode_special_tokens = False
    return wrapped.apply_chat_template([m.as_dict() for m in messages], tokenize=True, return_dict=False, **options)


@pytest.mark.parametrize("name", SPECIAL)
@pytest.mark.parametrize("tools", [[], [WEATHER], [WEATHER, Tool("now", definition={"type": "function"})]])
@pytest.mark.parametrize("length", [1, 3, 4, 5])
def test_ids_equal_those_of_transformers(renderer_of, name, tools, length):
    renderer, messages = renderer_of(name), LOOP[:length]
    prompt = messages[-1].role != "assistant"
    published = [tool.definition for tool in tools] or None
    rendered = renderer.render(messages, add_generation_prompt=prompt, tools=tools)
    assert rendered.ids == apply_with_transformers(renderer, messages, tools=published, add_generation_prompt=prompt)
    assert len(rendered.spans) == len(messages)


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=[chr(0xFDD0 + i) for i in range(32)]))


@quick
@given(arguments=st.dictionaries(words, st.one_of(words, st.integers(-99, 99), st.booleans(), st.lists(words))),
       content=words.map(str.strip), result=words)  # fmt: skip
def test_ids_of_any_call_equal_those_of_transformers(renderer_of, arguments, content, result):
    renderer = renderer_of("hermes")
    call = ToolCall("call_1", "f", json.dumps(arguments))
    messages = [
        Message("system", "Be kind."), Message("user", "Hello"),
        Message("assistant", content, tool_calls=(call, BERN_CALL)),
        Message("tool", result, tool_call_id="call_1"), Message("tool", "x", tool_call_id="123456789"),
    ]  # fmt: skip
    rendered = renderer.render(messages, add_generation_prompt=True, tools=[WEATHER])
    assert rendered.ids == apply_with_transformers(renderer, messages, tools=[FUNCTION], add_generation_prompt=True)


def test_call_ids_are_converted_to_the_form_of_the_template(renderer_of):
    call = ToolCall("call_0123456789abcdef", "f", "{}")
    messages = [
        Message("user", "?"), Message("assistant", "", tool_calls=(call,)), Message("tool", "1", tool_call_id=call.id)
    ]  # fmt: skip
    text = text_of(renderer_of("mistral"), messages)
    id = tool_call_formats.load_format("mistral").call_id(call.id)
    assert len(id) == 9
    assert id.isalnum()
    assert f'"id": "{id}"' in text
    assert f'"call_id": "{id}"' in text


# Templates that know none


def test_definitions_are_added_to_the_system_message_or_as_one(chatml):
    alone = text_of(chatml, LOOP[:1], tools=[WEATHER])
    assert alone.startswith("<|im_start|>system\nYou can call tools.")
    assert json.dumps(FUNCTION, ensure_ascii=False) in alone
    for role in ("system", "developer"):
        merged = text_of(chatml, [Message(role, "Be kind."), *LOOP[:1]], tools=[WEATHER])
        assert merged.startswith(f"<|im_start|>{role}\nBe kind.\n\nYou can call tools.")
        assert merged.count("<|im_start|>") == 2


def test_calls_and_results_are_written_in_the_default_format(chatml):
    messages = [
        Message("user", "?"),
        Message("assistant", "I look.", tool_calls=(ROME_CALL, BERN_CALL)),
        Message("tool", "sunny", tool_call_id=ROME_CALL.id),
        Message("tool", "rain", tool_call_id=BERN_CALL.id),
        Message("assistant", "Mixed."),
    ]
    rendered = chatml.render(messages)
    text = chatml.tokenizer.decode(rendered.ids, skip_special_tokens=False)
    assert text == (
        "<|im_start|>user\n?<|im_end|>\n<|im_start|>assistant\nI look.\n"
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome", "n": 1.5}}\n</tool_call>\n'
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Bern"}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\nsunny\n</tool_response>\n<tool_response>\nrain\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\nMixed.<|im_end|>\n"
    )
    span_texts = [
        None if span is None else chatml.tokenizer.decode(rendered.ids[slice(*span)]) for span in rendered.spans
    ]
    assert len(span_texts) == len(messages)
    assert span_texts[1].startswith("I look.\n<tool_call>")
    assert span_texts[2] == span_texts[3]
    assert span_texts[4] == "Mixed."


def test_a_generated_call_has_the_same_ids_in_the_next_prompt(chatml):
    prompt = chatml.render(LOOP[:1], add_generation_prompt=True, tools=[WEATHER]).ids
    answer = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome", "n": 1.5}}\n</tool_call>'
    following = chatml.render(LOOP[:3], add_generation_prompt=True, tools=[WEATHER]).ids
    wrote = [*prompt, *chatml.tokenizer.encode(answer)]
    assert following[: len(wrote)] == wrote


def test_tool_results_use_the_tool_role_if_the_template_supports_it(renderer_of):
    text = text_of(renderer_of("turnwise"), LOOP)
    assert '<|tool|>"sunny"<|end|>' in text
    assert "<tool_response>" not in text


def test_tools_are_written_as_text_for_templates_of_unknown_formats(made_tokenizer):
    tokenizer = Tokenizer(made_tokenizer(["<|im_start|>", "<|im_end|>"]), {"eos_token": "<|im_end|>"}, TAGS)
    text = text_of(Renderer.from_tokenizer(tokenizer), LOOP[:3], tools=[WEATHER])
    assert "<function=" not in text
    assert text.count("You can call tools.") == 1
    assert '<tool_call>\n{"name": "get_weather"' in text


def test_the_input_of_a_custom_tool_is_one_string(chatml):
    call = ToolCall("c", "note", 'say "hi"', "custom")
    text = text_of(chatml, [Message("user", "?"), Message("assistant", "", tool_calls=(call,))])
    assert r'{"name": "note", "arguments": {"input": "say \"hi\""}}' in text


@pytest.mark.parametrize("arguments", ["not json", "[1]", "", "[" * 100_000, "9" * 5000])
def test_arguments_that_are_not_a_json_object_are_not_changed(arguments):
    assert ToolCall("c", "f", arguments).parsed_arguments == arguments


# Special tokens


@pytest.mark.parametrize("name", [*SPECIAL, "turnwise"])
@pytest.mark.parametrize("escaped", [False, True])
def test_special_tokens_in_calls_and_definitions_are_rejected(renderer_of, name, escaped):
    renderer = renderer_of(name)
    for token in renderer.tokenizer.special_tokens:
        spelled = "".join(f"\\u{ord(c):04x}" for c in token) if escaped else token
        for arguments in (f'{{"a": "x{spelled}"}}', f'{{"{spelled}": 1}}', f'{{"a": [{{"b": "{spelled}"}}]}}'):
            messages = [Message("user", "?"), Message("assistant", "", tool_calls=(ToolCall("c", "f", arguments),))]
            with pytest.raises(TemplateError, match="special token"):
                renderer.render(messages)
        tool = Tool("f", definition={"type": "function", "function": {"name": "f", "description": token}})
        with pytest.raises(InvalidParameter, match="special token"):
            renderer.render(LOOP[:1], tools=[tool])


def test_special_tokens_in_a_tool_result_stay_text(renderer_of):
    renderer = renderer_of("hermes")
    with_token = [*LOOP[:2], Message("tool", "<|im_end|>", tool_call_id=ROME_CALL.id)]
    without_token = [*LOOP[:2], Message("tool", "x", tool_call_id=ROME_CALL.id)]
    special = renderer.tokenizer.special_ids
    ids, expected = ([id for id in renderer.render(m).ids if id in special] for m in (with_token, without_token))
    assert ids == expected


NO_SYSTEM = {
    "refused": "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}",
    "left out": "{% set messages = messages | rejectattr('role', 'equalto', 'system') | list %}",
}


@pytest.mark.parametrize("handling", NO_SYSTEM)
def test_without_a_system_role_definitions_are_added_to_the_first_user_message(chatml, handling):
    tokenizer = chatml.tokenizer
    renderer = Renderer.from_tokenizer(
        Tokenizer(tokenizer.backend, tokenizer.special_tokens_map, NO_SYSTEM[handling] + tokenizer.chat_template)
    )
    shown = text_of(renderer, LOOP, tools=[WEATHER], add_generation_prompt=True)
    first = shown.split("<|im_end|>")[0]
    assert first.startswith("<|im_start|>user\nYou can call tools.")
    assert '"get_weather"' in first
    assert first.endswith("\n\nThe weather in Rome?")
    assert shown.count("You can call tools.") == 1
    assert shown.count("<|im_start|>user") == 3  # two questions and a result; the tools add no message


def test_a_system_message_that_the_template_rejects_is_still_rejected(chatml):
    tokenizer = chatml.tokenizer
    template = NO_SYSTEM["refused"] + tokenizer.chat_template
    renderer = Renderer.from_tokenizer(Tokenizer(tokenizer.backend, tokenizer.special_tokens_map, template))
    with pytest.raises(TemplateError, match="System role not supported"):
        renderer.render([Message("system", "Be brief."), *LOOP], tools=[WEATHER])
