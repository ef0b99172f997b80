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
_MARKS = re.compile("[\ufdd0-\ufdef]")
_BORDER = re.compile(f"[{START}{END}][\ufde0-\ufdef]+")


def strip_sentinels(text: str, instead: str = "") -> str:
    """`text` with all sentinels removed, or replaced by `instead`."""
    return _MARKS.sub(instead, text)


def find_content_spans(
    messages: Sequence[Message], text: str, apply: Callable[[list[Message]], str]
) -> list[CharSpan | None]:
    """Character span `[start, end)` of each message's content in `text`; None if it is not found.

    Args:
        messages: messages of the conversation.
        text: the rendered conversation.
        apply: renders messages with the same template and options.
    """
    tried = []
    for contents in _ways_to_mark(messages):
        if contents in tried:
            continue
        tried.append(contents)
        marked = apply([replace(m, content=content) for m, content in zip(messages, contents, strict=True)])
        if strip_sentinels(marked) == text:
            ranges, cut = _read_marks(marked, messages)
            for i in cut:
                ranges[i] = _without_overlap(messages, i, ranges[i], text, apply)
            return _fill_in(messages, text, contents, ranges)
    return _fill_in(messages, text, [message.content for message in messages], [None] * len(messages))


def _ways_to_mark(messages: Sequence[Message]) -> Iterator[list[str]]:
    """Contents with sentinels: around their white space, inside it for templates that trim, then fewer sentinels."""
    everyone, assistant = {message.role for message in messages}, {"assistant"}
    for outside, inside in ((everyone, set()), (assistant, everyone), (set(), everyone)):
        yield _marked(messages, outside, inside)
    for kinds in (START + END, END, START):  # templates that inspect the start or the end of a content
        yield _marked(messages, assistant, set(), kinds)
        yield _marked(messages, set(), assistant, kinds)


def _marked(
    messages: Sequence[Message], outside: Iterable[str], inside: Iterable[str], kinds: str = START + END
) -> list[str]:
    contents = []
    for i, message in enumerate(messages):
        content, number = message.content, _number(i)
        start, end = (kind + number if kind in kinds else "" for kind in (START, END))
        core = content.strip()
        if content and message.role in outside:
            content = f"{start}{content}{end}"
        elif core and message.role in inside:
            at = content.index(core)
            content = f"{content[:at]}{start}{core}{end}{content[at + len(core) :]}"
        contents.append(content)  # leave empty contents empty: templates test for them
    return contents


def _number(i: int) -> str:
    return "".join(chr(_ZERO + int(digit, 16)) for digit in f"{i:x}")


def _read_marks(marked: str, messages: Sequence[Message]) -> tuple[list[CharSpan | None], list[int]]:
    """Spans from the sentinels, and the indices of messages whose start the template cut off.

    If one of the two sentinels is missing, the text of the content determines the span.
    """
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    removed = 0
    for match in _BORDER.finditer(marked):
        number = int("".join(f"{ord(digit) - _ZERO:x}" for digit in match.group()[1:]), 16)
        (starts if match.group()[0] == START else ends)[number] = match.start() - removed
        removed += len(match.group())
    text = strip_sentinels(marked)
    ranges: list[CharSpan | None] = []
    cut = []
    for i, message in enumerate(messages):
        start, end, content = starts.get(i), ends.get(i), message.content.strip()
        if start is None and end is not None:
            # The sentinel is outside or inside the trailing white space.
            written = text[max(0, end - len(message.content)) : end]
            kept = max((_common_end(written, each).lstrip() for each in (message.content, content)), key=len)
            start = end - len(kept)
            cut.append(i)
        elif end is None and start is not None:
            end = start + len(_common_start(text[start : start + len(content)], content).rstrip())
        ranges.append((start, end) if start is not None and end is not None and start < end else None)
    return ranges, cut


def _without_overlap(
    messages: Sequence[Message], i: int, chars: CharSpan | None, text: str, apply: Callable[[list[Message]], str]
) -> CharSpan | None:
    """Span of a content with a cut start, without template characters that happen to equal the content.

    Example: `</think>42.` after `<|assistant|>` leaves `>42.`, of which only `42.` is content. A sentinel is inserted
    into the content at later and later positions until it appears in the output.
    """
    if chars is None or text[slice(*chars)].strip() == messages[i].content.strip():
        return chars  # complete
    content, (start, end) = messages[i].content, chars
    core = len(content) if text[:end].endswith(content[-1]) else len(content.rstrip())
    for first in range(start, end):
        at = core - (end - first)
        marked = [*messages]
        marked[i] = replace(messages[i], content=f"{content[:at]}{START}{content[at:]}")
        found = apply(marked)
        if found == f"{text[:first]}{START}{text[first:]}":
            return first, end
    return chars


def _common_start(text: str, content: str) -> str:
    """Common prefix. Callers strip its trailing white space, which may belong to the template."""
    pairs = enumerate(zip(text, content, strict=False))
    return content[: next((i for i, (a, b) in pairs if a != b), min(len(text), len(content)))]


def _common_end(text: str, content: str) -> str:
    return _common_start(text[::-1], content[::-1])[::-1]


def _fill_in(
    messages: Sequence[Message], text: str, contents: Sequence[str], ranges: list[CharSpan | None]
) -> list[CharSpan | None]:
    """Search contents without sentinels. A content that occurs exactly once between its neighbors is found."""
    filled: list[CharSpan | None] = []
    done = 0
    for i, (message, content) in enumerate(zip(messages, contents, strict=True)):
        chars, core = ranges[i], message.content.strip()
        if chars is None and core and content == message.content:
            following = next((later[0] for later in ranges[i + 1 :] if later is not None), len(text))
            if text.count(core, done, following) == 1:
                found = text.index(core, done)
                chars = found, found + len(core)
        filled.append(chars)
        done = chars[1] if chars is not None else done
    return filled
