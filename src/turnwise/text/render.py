"""The one renderer: messages to ids, a loss mask and the span of every message.

Training, evaluation and serving all call `Renderer.render`, so they cannot disagree about a template, which is the
field's most common silent bug. Two promises are kept here:

* For ordinary messages the ids equal those of transformers' `apply_chat_template(tokenize=True)`.
* A special token spelled in a message's content stays text: only what the template itself writes can open or close a
  turn.

To find where content ended up, the template is rendered a second time with an invisible mark on either side of every
content. A template that rewrites content (drops earlier reasoning, say) would lose marks; then the contents are looked
for in order in the plain rendering.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from turnwise.core.errors import TemplateError
from turnwise.core.messages import Message
from turnwise.text.template import apply_template
from turnwise.text.tokenizer import Encoding, Tokenizer

# Unicode non-characters: never text, so no message is changed by having them taken out.
MARK_START, MARK_END = "\ufdd0", "\ufdd1"
_MARKS = re.compile(f"[{MARK_START}{MARK_END}]")

# For checkpoints that ship none, such as DialoGPT: turns joined by the end-of-text token (Zhang et al. 2020).
PLAIN_TEMPLATE = "{% for message in messages %}{{ message['content'] }}{{ eos_token }}{% endfor %}"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as the model sees it.

    Attributes:
        ids: token ids.
        loss_mask: for each id whether it is the assistant's to say: its content and the token that ends its turn.
        spans: for each message the ids `[start, end)` of its content; None where the template left the content out.
    """

    ids: list[int]
    loss_mask: list[bool]
    spans: list[tuple[int, int] | None]


@dataclass(frozen=True)
class Renderer:
    """Renders conversations for one tokenizer and its chat template."""

    tokenizer: Tokenizer
    template: str

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "Renderer":
        """The renderer of a tokenizer's own template, or of turns joined by its end token where it ships none."""
        if tokenizer.chat_template is not None:
            return cls(tokenizer, tokenizer.chat_template)
        if "eos_token" not in tokenizer.named:
            raise TemplateError("This model has neither a chat template nor an end-of-text token to part turns with.")
        return cls(tokenizer, PLAIN_TEMPLATE)

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = False,
        continue_final: bool = False,
        variables: Mapping[str, Any] | None = None,
    ) -> Rendered:
        """Ids, loss mask and message spans of a conversation.

        Args:
            messages: the conversation.
            add_generation_prompt: end with what opens the assistant's next turn (serving).
            continue_final: leave the last message open so that the model goes on with it.
            variables: further values for the template.

        Raises:
            TemplateError: the template refuses the messages, or special-token text in a content cannot be told apart.
        """
        messages = [_clean(message) for message in messages]
        values = {**self.tokenizer.named, **(variables or {})}

        def apply(contents: Sequence[str]) -> str:
            plain = [message.as_dict() | {"content": text} for message, text in zip(messages, contents, strict=True)]
            return apply_template(self.template, plain, variables=values, add_generation_prompt=add_generation_prompt)

        contents = [message.content for message in messages]
        text = apply(contents)
        ranges = _marked_ranges(apply([_mark(content) for content in contents]), text, len(contents))
        if ranges is None:
            ranges = _searched_ranges(text, contents)
        if continue_final:
            text, ranges = _cut_after_last(text, ranges)
        encoding = self._encode(text, contents, ranges)
        spans = [_token_span(encoding, chars) for chars in ranges]
        mask = self._loss_mask(encoding, messages, spans)
        return Rendered(encoding.ids, mask, spans)

    def _encode(self, text: str, contents: Sequence[str], ranges: Sequence[tuple[int, int] | None]) -> Encoding:
        """Encode in one go, or around the special-token text that content holds."""
        special = self.tokenizer.special_texts
        hostile = [i for i, content in enumerate(contents) if any(token in content for token in special)]
        if not hostile:
            return self.tokenizer.encode_offsets(text, allow_special=True)
        if any(ranges[i] is None for i in hostile):
            raise TemplateError(
                "A message spells a special token and the chat template rewrites it, so the two cannot be told apart. "
                "Leave the token's text out of the message."
            )
        return self._encode_apart(text, [chars for chars in ranges if chars is not None])

    def _encode_apart(self, text: str, ranges: Sequence[tuple[int, int]]) -> Encoding:
        """Only special tokens that lie outside every content are special; all between them is text."""
        pattern = re.compile("|".join(re.escape(token) for token in self.tokenizer.special_texts))
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []

        def add_text(start: int, end: int) -> None:
            if start < end:
                part = self.tokenizer.encode_offsets(text[start:end])
                ids.extend(part.ids)
                offsets.extend((start + a, start + b) for a, b in part.offsets)

        done = position = 0
        while match := pattern.search(text, position):
            inside = next((chars for chars in ranges if match.start() < chars[1] and chars[0] < match.end()), None)
            if inside is not None:
                position = max(inside[1], position + 1)
                continue
            add_text(done, match.start())
            special = self.tokenizer.id_of(match.group())
            assert special is not None
            ids.append(special)
            offsets.append(match.span())
            done = position = match.end()
        add_text(done, len(text))
        return Encoding(ids, offsets)

    def _loss_mask(
        self, encoding: Encoding, messages: Sequence[Message], spans: Sequence[tuple[int, int] | None]
    ) -> list[bool]:
        """True on every assistant content and on the special token that ends its turn."""
        mask = [False] * len(encoding.ids)
        for i, (message, span) in enumerate(zip(messages, spans, strict=True)):
            if message.role != "assistant" or span is None:
                continue
            mask[span[0] : span[1]] = [True] * (span[1] - span[0])
            following = next((later[0] for later in spans[i + 1 :] if later is not None), len(encoding.ids))
            for at in range(span[1], following):
                if encoding.ids[at] in self.tokenizer.special_ids:
                    mask[at] = True
                    break
        return mask


def _clean(message: Message) -> Message:
    """Take our marks out of content, in case somebody sends them."""
    if _MARKS.search(message.content) is None:
        return message
    return Message(message.role, _MARKS.sub("\ufffd", message.content), message.name)


def _mark(content: str) -> str:
    """Marks go inside the outer white space, so a template that trims still trims. Empty content stays empty."""
    core = content.strip()
    if not core:
        return content
    start = content.index(core)
    return f"{content[:start]}{MARK_START}{core}{MARK_END}{content[start + len(core) :]}"


def _marked_ranges(marked: str, plain: str, count: int) -> list[tuple[int, int] | None] | None:
    """Character ranges of the contents in `plain`, or None where the marks did not survive in order."""
    if _MARKS.sub("", marked) != plain:
        return None
    ranges: list[tuple[int, int] | None] = []
    opened: int | None = None
    for removed, match in enumerate(_MARKS.finditer(marked)):
        position = match.start() - removed
        if match.group() == MARK_START:
            if opened is not None:
                return None
            opened = position
        else:
            if opened is None:
                return None
            ranges.append((opened, position))
            opened = None
    return ranges if len(ranges) == count and opened is None else None


def _searched_ranges(text: str, contents: Sequence[str]) -> list[tuple[int, int] | None]:
    """Look for the contents one after another; a content that is empty or was rewritten has no range."""
    ranges: list[tuple[int, int] | None] = []
    position = 0
    for content in contents:
        core = content.strip()
        found = text.find(core, position) if core else -1
        if found < 0:
            ranges.append(None)
        else:
            position = found + len(core)
            ranges.append((found, position))
    return ranges


def _cut_after_last(text: str, ranges: list[tuple[int, int] | None]) -> tuple[str, list[tuple[int, int] | None]]:
    last = ranges[-1] if ranges else None
    if last is None:
        raise TemplateError("The last message has no text in the rendered conversation, so it cannot be continued.")
    return text[: last[1]], ranges


def _token_span(encoding: Encoding, chars: tuple[int, int] | None) -> tuple[int, int] | None:
    """The ids that hold any of the characters; a token across the border belongs to the content."""
    if chars is None:
        return None
    inside = [i for i, (start, end) in enumerate(encoding.offsets) if start < chars[1] and end > chars[0]]
    return (inside[0], inside[-1] + 1) if inside else None
