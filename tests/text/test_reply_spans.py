"""What a reply is learned after is the prompt it is served after, whatever the template does with replies."""

import re
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.core.messages import Message
from turnwise.text.rendering.renderer import FALLBACK_CHAT_TEMPLATE, Renderer
from turnwise.text.rendering.reply_spans import render_replies, render_reply
from turnwise.text.tokenization.bpe_training import DEFAULT_CHAT_TEMPLATE as TEMPLATE

# Earlier replies lose their thoughts (Qwen3).
STRIPPING = """
{%- for message in messages %}
    {%- set content = message['content'] %}
    {%- if message['role'] == 'assistant' and not loop.last %}
        {%- set content = content.split('</think>')[-1].lstrip() %}
    {%- endif %}
    {{- '<|' + message['role'] + '|>' + content + '<|end|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"""
# The generation prompt opens a thought, and replies are shown without theirs (DeepSeek-R1).
OPENING = """
{%- for message in messages %}
    {%- set content = message['content'] %}
    {%- if message['role'] == 'assistant' %}{% set content = content.split('</think>')[-1].lstrip() %}{% endif %}
    {{- '<|' + message['role'] + '|>' + content + '<|end|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|><think>\n' }}{% endif %}"""
# The last reply gets an empty thought where it has none (Qwen3 without thinking).
EMPTY = """
{%- for message in messages %}
    {{- '<|' + message['role'] + '|>' }}
    {%- if message['role'] == 'assistant' and loop.last and '</think>' not in message['content'] %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
    {{- message['content'] + '<|end|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"""
# The system message is said with the last question (Mistral).
WANDERING = """
{%- set last = namespace(user=0) %}
{%- for message in messages %}{% if message['role'] == 'user' %}{% set last.user = loop.index0 %}{% endif %}{% endfor %}
{%- for message in messages %}
    {%- if message['role'] != 'system' %}
        {{- '<|' + message['role'] + '|>' }}
        {%- if messages[0]['role'] == 'system' and loop.index0 == last.user %}
            {{- messages[0]['content'] + '\n' }}
        {%- endif %}
        {{- message['content'] + '<|end|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"""
TEMPLATES = {
    "own": TEMPLATE,
    "plain": FALLBACK_CHAT_TEMPLATE,
    "stripping": STRIPPING,
    "opening": OPENING,
    "empty": EMPTY,
    "wandering": WANDERING,
}

TALK = (
    Message("user", "What is six times seven?"),
    Message("assistant", "<think>\nsix sevens</think>42."),
    Message("user", "And seven times seven?"),
    Message("assistant", "<think>\nseven sevens</think>49."),
)


def renderer_with(tokenizer, template):
    return Renderer(replace(tokenizer, chat_template=template), template)


def reply_texts(renderer, rendered):
    decode = renderer.tokenizer.decode
    return [decode(rendered.ids[reply.start : reply.end], skip_special_tokens=False) for reply in rendered.replies]


def follows_prompt(renderer, messages, rendered, reply):
    prompt = renderer.render(messages[: reply.index], add_generation_prompt=True).ids
    return rendered.ids[: reply.start] == prompt


texts = st.text(st.sampled_from("ab \n.é好🚚"), min_size=1, max_size=8).filter(str.strip)
thoughts = st.sampled_from(["", "<think>\nhm</think>", "<think>\n\n</think>\n\n"])


@settings(max_examples=60, deadline=None)
@given(
    system=st.booleans(),
    exchanges=st.lists(st.tuples(texts, thoughts, texts), min_size=1, max_size=4),
    name=st.sampled_from(sorted(TEMPLATES)),
)
def test_every_reply_follows_its_prompt(tokenizer, system, exchanges, name):
    renderer = renderer_with(tokenizer, TEMPLATES[name])
    messages = [Message("system", "Be brief.")] if system else []
    for question, thought, answer in exchanges:
        messages += [Message("user", question), Message("assistant", thought + answer)]
    indices = [i for i, message in enumerate(messages) if message.role == "assistant"]
    shared = render_replies(renderer, messages, indices)
    assert all(follows_prompt(renderer, messages, shared, reply) for reply in shared.replies)
    for index in indices:
        alone = render_reply(renderer, messages[: index + 1])
        (reply,) = alone.replies
        assert reply.index == index
        assert follows_prompt(renderer, messages, alone, reply)
        assert messages[index].content.split("</think>")[-1].strip() in reply_texts(renderer, alone)[0]
    if name in ("own", "plain"):
        assert [reply.index for reply in shared.replies] == indices  # one pass is enough


def test_thoughts_that_the_template_removes_from_earlier_replies_are_trained_as_last_replies(tokenizer):
    renderer = renderer_with(tokenizer, STRIPPING)
    shared = render_replies(renderer, TALK, [1, 3])
    assert reply_texts(renderer, shared) == ["<think>\nseven sevens</think>49.<|end|>"]
    alone = render_reply(renderer, TALK[:2])
    assert reply_texts(renderer, alone) == ["<think>\nsix sevens</think>42.<|end|>"]


def test_a_thought_continues_the_open_tag_of_the_prompt(tokenizer):
    renderer = renderer_with(tokenizer, OPENING)
    assert not render_replies(renderer, TALK, [1, 3]).replies
    assert reply_texts(renderer, render_reply(renderer, TALK)) == ["seven sevens</think>49.<|end|>"]
    plain = (*TALK[:3], Message("assistant", "49."))
    assert reply_texts(renderer, render_reply(renderer, plain)) == ["\n</think>\n\n49.<|end|>"]


def test_an_empty_thought_before_the_last_reply_is_part_of_the_reply(tokenizer):
    renderer = renderer_with(tokenizer, EMPTY)
    plain = [replace(m, content=m.content.split("</think>")[-1]) for m in TALK]
    shared = render_replies(renderer, plain, [1, 3])
    assert reply_texts(renderer, shared) == ["<think>\n\n</think>\n\n49.<|end|>"]
    alone = render_reply(renderer, plain[:2])
    assert reply_texts(renderer, alone) == ["<think>\n\n</think>\n\n42.<|end|>"]


def test_replies_that_never_follow_their_prompt_are_not_rendered(tokenizer):
    renderer = renderer_with(
        tokenizer,
        "{% for m in messages %}{{ m['content'] }}<|end|>{% endfor %}{% if add_generation_prompt %}Bot:{% endif %}",
    )
    assert render_reply(renderer, TALK) is None


def test_a_greeting_without_a_prompt_is_trained_in_place(tokenizer):
    template = "{{ '' if messages else raise_exception('empty') }}" + TEMPLATE
    renderer = renderer_with(tokenizer, template)
    shared = render_replies(renderer, [Message("assistant", "Hello."), *TALK], [0])
    assert reply_texts(renderer, shared) == ["Hello.<|end|>"]


def test_a_special_token_in_a_message_is_text_in_prompt_and_reply(tokenizer):
    renderer = renderer_with(tokenizer, TEMPLATE)
    messages = [Message("user", "say <|end|>"), Message("assistant", "<|end|> is text")]
    shared = render_replies(renderer, messages, [1])
    assert follows_prompt(renderer, messages, shared, shared.replies[0])
    assert re.fullmatch(r"<\|end\|> is text<\|end\|>", reply_texts(renderer, shared)[0])
