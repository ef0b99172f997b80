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
from turnwise.text.rendering.renderer import RenderedConversation, Renderer

_OPEN_THOUGHT = re.compile(r"<([\w|]+)>\s*\Z")


@dataclass(frozen=True, slots=True)
class ReplySpan:
    """An assistant message in a rendering: the model generates the ids `[start, end)` after the prompt.

    Attributes:
        index: index of the message.
        start: first id after the prompt.
        end: end of the turn, including its end token.
    """

    index: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class RenderedReplies:
    """Token ids of a dialogue, and the replies that follow their prompt of serving."""

    ids: list[int]
    replies: list[ReplySpan]


def render_replies(renderer: Renderer, messages: Sequence[Message], indices: Collection[int]) -> RenderedReplies:
    """Render a dialogue once, with those of the requested replies that can be trained on.

    Raises:
        TemplateError: the template refuses the messages.
    """
    rendered = renderer.render(messages)
    found = (_reply(renderer, messages, rendered, index) for index in sorted(indices))
    return RenderedReplies(rendered.ids, [reply for reply in found if reply is not None])


def render_reply(renderer: Renderer, messages: Sequence[Message]) -> RenderedReplies | None:
    """Render the last message, a reply, after its prompt. None if the template cannot render it there.

    Raises:
        TemplateError: the template refuses the messages.
    """
    index = len(messages) - 1
    alone = render_replies(renderer, messages, [index])
    return alone if alone.replies else _put_after_prompt(renderer, messages)


def _reply(
    renderer: Renderer, messages: Sequence[Message], rendered: RenderedConversation, index: int
) -> ReplySpan | None:
    """The reply at `index`, if the ids before it equal its prompt."""
    span = rendered.spans[index]
    if span is None:
        return None
    if index < len(messages) - 1 and not _is_written_as_last(renderer, messages[: index + 1], rendered, span):
        return None
    end = _end(rendered, span)
    start = _prompt_end(renderer, messages[:index], rendered, span[0])
    return ReplySpan(index, start, end) if start is not None and start < end else None


def _is_written_as_last(
    renderer: Renderer, messages: Sequence[Message], rendered: RenderedConversation, span: tuple[int, int]
) -> bool:
    """Whether the last of these messages, and all before it, stand in the rendering as they do while it is the last."""
    end = rendered.offsets[span[1] - 1][1]
    return renderer.render_text(messages)[:end] == rendered.text[:end]


def _end(rendered: RenderedConversation, span: tuple[int, int]) -> int:
    end = span[0]
    while end < len(rendered.ids) and rendered.loss_mask[end]:
        end += 1
    return end


def _prompt_end(
    renderer: Renderer, history: Sequence[Message], rendered: RenderedConversation, content: int
) -> int | None:
    """How many ids the prompt after `history` has; None where the rendering does not begin with them."""
    try:
        prompt = renderer.render_text(history, add_generation_prompt=True)
    except TemplateError:  # nobody can ask for this reply: a greeting before any message, say
        return content
    if not rendered.text.startswith(prompt):
        return None
    border = len(prompt)
    count = bisect_left(rendered.offsets, border, key=lambda offset: offset[0])
    if _is_same_after_last_special(renderer, rendered, count, border, history):
        return count
    ids = renderer.render(history, add_generation_prompt=True).ids
    return len(ids) if rendered.ids[: len(ids)] == ids else None


def _is_same_after_last_special(
    renderer: Renderer, rendered: RenderedConversation, count: int, border: int, history: Sequence[Message]
) -> bool:
    """Whether the first `count` ids are those of the text up to `border`; a look back to the last special token tells.

    Special tokens part a text, so what stands before the last one has the same ids in both.
    """
    tokenizer = renderer.tokenizer
    if any(text in message.content for message in history for text in tokenizer.special_tokens):
        return False  # it is not special there, which a look at the text alone would not know
    first = count - 1
    while first > 0 and rendered.ids[first] not in tokenizer.special_ids:
        first -= 1
    if first < 0 or rendered.offsets[count - 1][1] > border:
        return False
    text = rendered.text[rendered.offsets[first][0] : border]
    return tokenizer.encode(text, allow_special=True) == rendered.ids[first:count]


def _put_after_prompt(renderer: Renderer, messages: Sequence[Message]) -> RenderedReplies | None:
    """A reply behind a prompt that ends in an opened thought, which the template does not write when it shows replies.

    What the reply thinks goes on there; a reply without a thought closes an empty one first, as the templates that can
    do without thoughts write it.
    """
    reply, prompt = messages[-1], renderer.render(messages[:-1], add_generation_prompt=True)
    rendered = renderer.render(messages)
    opened, span = _OPEN_THOUGHT.search(prompt.text), rendered.spans[-1]
    if opened is None or span is None:
        return None
    tag, text = opened[1], reply.content.strip()
    thinks = text.startswith(f"<{tag}>")
    rest = text.removeprefix(f"<{tag}>").lstrip() if thinks else f"\n</{tag}>\n\n{text}"
    said = renderer.tokenizer.encode(rest) + rendered.ids[span[1] : _end(rendered, span)]
    start = len(prompt.ids)
    return RenderedReplies([*prompt.ids, *said], [ReplySpan(len(messages) - 1, start, start + len(said))])
