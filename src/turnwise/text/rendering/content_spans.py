"""Finds the contents of messages in a rendered conversation.

The template is rendered again with invisible sentinels at both ends of every content. If the result differs only by the
sentinels, they give the exact span of each content, even if the template trims or shortens it. A template that inspects
the contents may render them differently because of a sentinel; then other placements with fewer sentinels are tried.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from turnwise.core.messages import Message

CharSpan = tuple[int, int]

# Unicode noncharacters, which do not occur in text.
START, END, BREAK_SENTINEL = "\ufdd0", "\ufdd1", "\ufdd2"
_ZERO = 0xFDE0  # 16 noncharacters from here on encode the message index, as hexadecimal digits
_SENTINELS = re.compile("[\ufdd0-\ufdef]")
_BORDER = re.compile(f"[{START}{END}][\ufde0-\ufdef]+")


def strip_sentinels(text: str, replacement: str = "") -> str:
    """`text` with all sentinels removed, or replaced by `replacement`."""
    return _SENTINELS.sub(replacement, text)


def find_content_spans(
    messages: Sequence[Message], text: str, apply: Callable[[list[Message]], str]
) -> list[CharSpan | None]:
    """Character span `[start, end)` of each message's content in `text`; None if it is not found.

    Args:
        messages: messages of the conversation.
        text: the rendered conversation.
        apply: renders messages with the same template and options.
    """
    previous = []
    for contents in _sentinel_placements(messages):
        if contents in previous:
            continue
        previous.append(contents)
        marked = apply([replace(m, content=content) for m, content in zip(messages, contents, strict=True)])
        if strip_sentinels(marked) == text:
            spans, truncated = _parse_sentinels(marked, messages)
            for i in truncated:
                spans[i] = _trim_template_characters(messages, i, spans[i], text, apply)
            return _search_missing_contents(messages, text, contents, spans)
    return _search_missing_contents(messages, text, [message.content for message in messages], [None] * len(messages))


def _sentinel_placements(messages: Sequence[Message]) -> Iterator[list[str]]:
    """Contents with sentinels: around their white space, inside it for templates that trim, then fewer sentinels."""
    all_roles, assistant = {message.role for message in messages}, {"assistant"}
    for outside, inside in ((all_roles, set()), (assistant, all_roles), (set(), all_roles)):
        yield _add_sentinels(messages, outside, inside)
    for kinds in (START + END, END, START):  # templates that inspect the start or the end of a content
        yield _add_sentinels(messages, assistant, set(), kinds)
        yield _add_sentinels(messages, set(), assistant, kinds)


def _add_sentinels(
    messages: Sequence[Message], outside: Iterable[str], inside: Iterable[str], kinds: str = START + END
) -> list[str]:
    """Contents with sentinels outside the white space for some roles, inside it for others.

    Args:
        messages: the conversation.
        outside: roles with sentinels before and after the white space around the content.
        inside: roles with sentinels between the white space and the text.
        kinds: `START`, `END` or both.
    """
    contents = []
    for i, message in enumerate(messages):
        content, number = message.content, _encode_index(i)
        start, end = (kind + number if kind in kinds else "" for kind in (START, END))
        core = content.strip()
        if content and message.role in outside:
            content = f"{start}{content}{end}"
        elif core and message.role in inside:
            position = content.index(core)
            content = f"{content[:position]}{start}{core}{end}{content[position + len(core) :]}"
        contents.append(content)  # leave empty contents empty: templates test for them
    return contents


def _encode_index(i: int) -> str:
    """The index as sentinel digits."""
    return "".join(chr(_ZERO + int(digit, 16)) for digit in f"{i:x}")


def _parse_sentinels(marked: str, messages: Sequence[Message]) -> tuple[list[CharSpan | None], list[int]]:
    """Spans from the sentinels, and the indices of messages whose start the template removed.

    If one of the two sentinels is missing, the text of the content determines the span.
    """
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    num_removed = 0  # sentinel characters before the match
    for match in _BORDER.finditer(marked):
        number = int("".join(f"{ord(digit) - _ZERO:x}" for digit in match.group()[1:]), 16)
        (starts if match.group()[0] == START else ends)[number] = match.start() - num_removed
        num_removed += len(match.group())
    text = strip_sentinels(marked)
    spans: list[CharSpan | None] = []
    truncated = []
    for i, message in enumerate(messages):
        start, end, content = starts.get(i), ends.get(i), message.content.strip()
        if start is None and end is not None:
            # The sentinel is outside or inside the trailing white space.
            before_end = text[max(0, end - len(message.content)) : end]
            suffixes = (_common_suffix(before_end, variant).lstrip() for variant in (message.content, content))
            start = end - max(map(len, suffixes))
            truncated.append(i)
        elif end is None and start is not None:
            end = start + len(_common_prefix(text[start : start + len(content)], content).rstrip())
        spans.append((start, end) if start is not None and end is not None and start < end else None)
    return spans, truncated


def _trim_template_characters(
    messages: Sequence[Message], i: int, span: CharSpan | None, text: str, apply: Callable[[list[Message]], str]
) -> CharSpan | None:
    """Span of a content with a removed start, without template characters that happen to equal the content.

    Example: `</think>42.` after `<|assistant|>` leaves `>42.`, of which only `42.` is content. A sentinel is inserted
    into the content at later and later positions until it appears in the output.
    """
    if span is None or text[slice(*span)].strip() == messages[i].content.strip():
        return span  # complete
    content, (start, end) = messages[i].content, span
    length = len(content) if text[:end].endswith(content[-1]) else len(content.rstrip())
    for first in range(start, end):
        position = length - (end - first)
        marked = [*messages]
        marked[i] = replace(messages[i], content=f"{content[:position]}{START}{content[position:]}")
        if apply(marked) == f"{text[:first]}{START}{text[first:]}":
            return first, end
    return span


def _common_prefix(text: str, content: str) -> str:
    """Common prefix. Callers strip its trailing white space, which may belong to the template."""
    pairs = enumerate(zip(text, content, strict=False))
    return content[: next((i for i, (a, b) in pairs if a != b), min(len(text), len(content)))]


def _common_suffix(text: str, content: str) -> str:
    return _common_prefix(text[::-1], content[::-1])[::-1]


def _search_missing_contents(
    messages: Sequence[Message], text: str, contents: Sequence[str], spans: Sequence[CharSpan | None]
) -> list[CharSpan | None]:
    """Search the text for contents without sentinels. A content has a span if it occurs once between its neighbors."""
    completed: list[CharSpan | None] = []
    previous_end = 0
    for i, (message, content) in enumerate(zip(messages, contents, strict=True)):
        span, core = spans[i], message.content.strip()
        if span is None and core and content == message.content:
            next_start = next((later[0] for later in spans[i + 1 :] if later is not None), len(text))
            if text.count(core, previous_end, next_start) == 1:
                start = text.index(core, previous_end)
                span = start, start + len(core)
        completed.append(span)
        previous_end = span[1] if span is not None else previous_end
    return completed
