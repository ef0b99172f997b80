"""Finds replies that follow exactly the prompt of serving, so that training matches inference.

Most templates render a reply identically whether it is the last message or not. Then one rendering of a dialogue has
every reply after its prompt. Reasoning templates do not: some remove the thoughts of all replies except the last one,
some add an empty thought before the last one only, some end their generation prompt with `<think>`. A reply of a
rendering is therefore used only if it is rendered as the last message would be, after the ids of its prompt. Otherwise
it is rendered as the last message of a dialogue of its own. If even that differs from the prompt, the reply is appended
to the prompt.
"""

import re
from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from turnwise.core.errors import TemplateError
from turnwise.core.messages import Message
from turnwise.text.rendering.rendered_conversation import RenderedConversation
from turnwise.text.rendering.renderer import Renderer

_OPEN_THOUGHT = re.compile(r"<([\w|]+)>\s*\Z")


@dataclass(frozen=True, slots=True)
class ReplySpan:
    """An assistant message in a rendering: the model generates the ids `[start, end)` after the prompt.

    Attributes:
        index: index of the message.
        start: first id after the prompt.
        end: end of the turn, including its end token.
        is_cut: True if the reply lost its end to the sequence length.
    """

    index: int
    start: int
    end: int
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class RenderedReplies:
    """Token ids of a dialogue, and the replies that follow their prompt of serving."""

    ids: list[int]
    replies: list[ReplySpan]


def render_replies(renderer: Renderer, messages: Sequence[Message], indices: Collection[int]) -> RenderedReplies:
    """Render a dialogue once, with those of the replies at `indices` that can be trained on.

    Raises:
        TemplateError: the template rejects the messages.
    """
    rendered = renderer.render(messages)
    spans = (_find_reply(renderer, messages, rendered, index) for index in sorted(indices))
    return RenderedReplies(rendered.ids, [span for span in spans if span is not None])


def render_reply(renderer: Renderer, messages: Sequence[Message]) -> RenderedReplies | None:
    """Render the last message, a reply, after its prompt. None if the template cannot render it there.

    Raises:
        TemplateError: the template rejects the messages.
    """
    rendered = render_replies(renderer, messages, [len(messages) - 1])
    return rendered if rendered.replies else _append_to_prompt(renderer, messages)


def _find_reply(
    renderer: Renderer, messages: Sequence[Message], rendered: RenderedConversation, index: int
) -> ReplySpan | None:
    """The reply at `index`, if the ids before it equal its prompt."""
    span = rendered.spans[index]
    if span is None:
        return None
    if index < len(messages) - 1 and not _is_rendered_as_last(renderer, messages[: index + 1], rendered, span):
        return None
    end = _turn_end(rendered, span)
    start = _prompt_length(renderer, messages[:index], messages[index], rendered, span[0])
    return ReplySpan(index, start, end) if start is not None and start < end else None


def _is_rendered_as_last(
    renderer: Renderer, messages: Sequence[Message], rendered: RenderedConversation, span: tuple[int, int]
) -> bool:
    """True if the rendering up to the end of `span` equals that of `messages`, where the reply is the last one."""
    end = rendered.offsets[span[1] - 1][1]
    return renderer.render_text(messages)[:end] == rendered.text[:end]


def _turn_end(rendered: RenderedConversation, span: tuple[int, int]) -> int:
    end = span[0]
    while end < len(rendered.ids) and rendered.assistant_mask[end]:
        end += 1
    return end


def _prompt_length(
    renderer: Renderer, history: Sequence[Message], reply: Message, rendered: RenderedConversation, content_start: int
) -> int | None:
    """Number of ids of the prompt after `history`; None if the rendering does not start with the prompt."""
    variables = renderer.prompt_variables(reply)
    try:
        prompt = renderer.render_text(history, add_generation_prompt=True, variables=variables)
    except TemplateError:  # serving cannot request this reply, for example a greeting before any message
        return content_start
    if not rendered.text.startswith(prompt):
        return None
    num_ids = bisect_left(rendered.offsets, len(prompt), key=lambda offset: offset[0])
    if _has_ids_of_prompt(renderer, rendered, num_ids, len(prompt), history):
        return num_ids
    ids = renderer.render(history, add_generation_prompt=True, variables=variables).ids
    return len(ids) if rendered.ids[: len(ids)] == ids else None


def _has_ids_of_prompt(
    renderer: Renderer, rendered: RenderedConversation, num_ids: int, prompt_end: int, history: Sequence[Message]
) -> bool:
    """True if the first `num_ids` ids are certainly those of the text up to `prompt_end`.

    Text before a special token does not affect the ids after it, so only the text after the last one is encoded again.
    """
    tokenizer = renderer.tokenizer
    if any(token in message.content for message in history for token in tokenizer.special_tokens):
        return False  # in a content it is plain text, which `encode` below does not know
    first = num_ids - 1
    while first > 0 and rendered.ids[first] not in tokenizer.special_ids:
        first -= 1
    if first < 0 or rendered.offsets[num_ids - 1][1] > prompt_end:
        return False
    text = rendered.text[rendered.offsets[first][0] : prompt_end]
    return tokenizer.encode(text, allow_special=True) == rendered.ids[first:num_ids]


def _append_to_prompt(renderer: Renderer, messages: Sequence[Message]) -> RenderedReplies | None:
    """Append the reply to a prompt that ends with an open thought tag. None for other prompts.

    The template omits the tag when it renders replies. The thought of the reply continues after the tag. A reply
    without a thought closes an empty one first, as templates with optional thoughts render it.
    """
    prompt = renderer.render(messages[:-1], add_generation_prompt=True)
    rendered = renderer.render(messages)
    open_tag, span = _OPEN_THOUGHT.search(prompt.text), rendered.spans[-1]
    if open_tag is None or span is None:
        return None
    tag, content = open_tag[1], messages[-1].content.strip()
    if content.startswith(f"<{tag}>"):
        completion = content.removeprefix(f"<{tag}>").lstrip()
    else:
        completion = f"\n</{tag}>\n\n{content}"
    reply_ids = renderer.tokenizer.encode(completion) + rendered.ids[span[1] : _turn_end(rendered, span)]
    start = len(prompt.ids)
    span_of_reply = ReplySpan(len(messages) - 1, start, start + len(reply_ids))
    return RenderedReplies([*prompt.ids, *reply_ids], [span_of_reply])
