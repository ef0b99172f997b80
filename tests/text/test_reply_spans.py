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


def of(tokenizer, template):
    return Renderer(replace(tokenizer, chat_template=template), template)


def learned(renderer, piece):
    decode = renderer.tokenizer.decode
    return [decode(piece.ids[reply.start : reply.end], skip_special_tokens=False) for reply in piece.replies]


def is_served(renderer, messages, piece, reply):
    prompt = renderer.render(messages[: reply.index], add_generation_prompt=True).ids
    return piece.ids[: reply.start] == prompt


texts = st.text(st.sampled_from("ab \n.é好🚚"), min_size=1, max_size=8).filter(str.strip)
thoughts = st.sampled_from(["", "<think>\nhm</think>", "<think>\n\n</think>\n\n"])


@settings(max_examples=60, deadline=None)
@given(
    system=st.booleans(),
    exchanges=st.lists(st.tuples(texts, thoughts, texts), min_size=1, max_size=4),
    name=st.sampled_from(sorted(TEMPLATES)),
)
def test_every_reply_stands_after_its_prompt(tokenizer, system, exchanges, name):
    renderer = of(tokenizer, TEMPLATES[name])
    messages = [Message("system", "Be brief.")] if system else []
    for question, thought, answer in exchanges:
        messages += [Message("user", question), Message("assistant", thought + answer)]
    wanted = [i for i, message in enumerate(messages) if message.role == "assistant"]
    shared = render_replies(renderer, messages, wanted)
    assert all(is_served(renderer, messages, shared, reply) for reply in shared.replies)
    for index in wanted:
        alone = render_reply(renderer, messages[: index + 1])
        (reply,) = alone.replies
        assert reply.index == index
        assert is_served(renderer, messages, alone, reply)
        assert messages[index].content.split("</think>")[-1].strip() in learned(renderer, alone)[0]
    if name in ("own", "plain"):
        assert [reply.index for reply in shared.replies] == wanted  # one pass is enough


def test_thoughts_that_are_taken_out_of_earlier_replies_are_learned_where_they_were_last(tokenizer):
    renderer = of(tokenizer, STRIPPING)
    shared = render_replies(renderer, TALK, [1, 3])
    assert learned(renderer, shared) == ["<think>\nseven sevens</think>49.<|end|>"]
    alone = render_reply(renderer, TALK[:2])
    assert learned(renderer, alone) == ["<think>\nsix sevens</think>42.<|end|>"]


def test_a_thought_that_the_prompt_opens_goes_on_there(tokenizer):
    renderer = of(tokenizer, OPENING)
    assert not render_replies(renderer, TALK, [1, 3]).replies
    assert learned(renderer, render_reply(renderer, TALK)) == ["seven sevens</think>49.<|end|>"]
    plain = (*TALK[:3], Message("assistant", "49."))
    assert learned(renderer, render_reply(renderer, plain)) == ["\n</think>\n\n49.<|end|>"]


def test_an_empty_thought_before_the_last_reply_is_learned_as_the_model_has_to_say_it(tokenizer):
    renderer = of(tokenizer, EMPTY)
    plain = [replace(m, content=m.content.split("</think>")[-1]) for m in TALK]
    shared = render_replies(renderer, plain, [1, 3])
    assert learned(renderer, shared) == ["<think>\n\n</think>\n\n49.<|end|>"]
    alone = render_reply(renderer, plain[:2])
    assert learned(renderer, alone) == ["<think>\n\n</think>\n\n42.<|end|>"]


def test_a_template_that_writes_replies_unlike_any_prompt_has_none(tokenizer):
    renderer = of(
        tokenizer,
        "{% for m in messages %}{{ m['content'] }}<|end|>{% endfor %}{% if add_generation_prompt %}Bot:{% endif %}",
    )
    assert render_reply(renderer, TALK) is None


def test_a_greeting_that_nobody_can_ask_for_is_learned_as_it_stands(tokenizer):
    template = "{{ '' if messages else raise_exception('empty') }}" + TEMPLATE
    renderer = of(tokenizer, template)
    shared = render_replies(renderer, [Message("assistant", "Hello."), *TALK], [0])
    assert learned(renderer, shared) == ["Hello.<|end|>"]


def test_a_spelled_special_token_is_text_in_both(tokenizer):
    renderer = of(tokenizer, TEMPLATE)
    messages = [Message("user", "say <|end|>"), Message("assistant", "<|end|> is text")]
    shared = render_replies(renderer, messages, [1])
    assert is_served(renderer, messages, shared, shared.replies[0])
    assert re.fullmatch(r"<\|end\|> is text<\|end\|>", learned(renderer, shared)[0])
