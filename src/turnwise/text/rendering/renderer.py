"""The one renderer: messages to ids, a loss mask and the span of every message.

Training, evaluation and serving all call `Renderer.render`, so they cannot disagree about a template, which is the
field's most common silent bug. Three promises are kept here:

* For ordinary messages the ids equal those of transformers' `apply_chat_template(tokenize=True)`.
* A special token spelled in a message stays text: only what the template itself writes can open or close a turn.
* What is served before an answer is what was trained before it. Where a template writes a reply after the text of its
  prompt, the ids up to the reply are those of `add_generation_prompt`; where a tokenizer would merge the two (a content
  that begins with a line break, after a line break of the template's), the ids are parted there, which transformers
  does not do. Templates that write the last reply in another way than earlier ones break this for a single rendering,
  so training uses `text.replies`, which compares every prefix with its prompt.

To find where content ended up, the template is rendered once more with invisible marks around every content
(`text.places`). A spelled special token gets such a mark inside it, which keeps the tokenizer from recognising it, and
the mark's ids are taken out again.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

from turnwise.core.errors import TemplateError
from turnwise.core.messages import Message
from turnwise.core.tools import Tool
from turnwise.text.chat_templates.chat_template import apply_chat_template
from turnwise.text.constraints.grammar_compiler import GrammarCompiler
from turnwise.text.rendering.content_spans import BREAK_SENTINEL, CharSpan, find_content_spans, strip_sentinels
from turnwise.text.rendering.tool_call_spans import find_tool_call_spans
from turnwise.text.rendering.tool_prompt import normalize_call_ids, reject_special_tokens, write_tools_as_text
from turnwise.text.tokenization.token_lower_bound import TokenLowerBound
from turnwise.text.tokenization.tokenizer import Encoding, Tokenizer, TooManyTokens
from turnwise.text.tokenization.vocabulary import Vocabulary
from turnwise.text.tool_call_formats import DEFAULT_FORMAT, ToolCallFormat, detect_format, load_format

SHORT = 65_536  # characters; up to here the exact number of tokens costs little, and an error can tell it
# For checkpoints that ship none, such as DialoGPT: turns joined by the end-of-text token (Zhang et al. 2020).
FALLBACK_CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] }}{{ eos_token }}{% endfor %}"


@dataclass(frozen=True, slots=True)
class RenderedConversation:
    """A conversation as the model sees it.

    Attributes:
        ids: token ids.
        loss_mask: for each id whether it is the assistant's to say: its content up to the token that ends its turn.
        spans: for each message the ids `[start, end)` of its content; None where the template left the content out.
        text: what the template wrote.
        offsets: for each id the characters `[start, end)` of `text` that it stands for.
    """

    ids: list[int]
    loss_mask: list[bool]
    spans: list[tuple[int, int] | None]
    text: str = ""
    offsets: Sequence[tuple[int, int]] = field(default=(), compare=False)  # they follow from ids and text


@dataclass(frozen=True)
class Renderer:
    """Renders conversations for one tokenizer and its chat template."""

    tokenizer: Tokenizer
    chat_template: str
    tools: tuple[Tool, ...] = ()  # of every dialogue that brings none of its own

    def with_tools(self, tools: tuple[Tool, ...]) -> "Renderer":
        """A renderer of dialogues in which these tools may be called."""
        return replace(self, tools=tools) if tools else self

    @classmethod
    def from_tokenizer(cls, tokenizer: Tokenizer) -> "Renderer":
        """The renderer of a tokenizer's own template, or of turns joined by its end token where it ships none."""
        if tokenizer.chat_template is not None:
            return cls(tokenizer, tokenizer.chat_template)
        if "eos_token" not in tokenizer.special_tokens_map:
            raise TemplateError("This model has neither a chat template nor an end-of-text token to part turns with.")
        return cls(tokenizer, FALLBACK_CHAT_TEMPLATE)

    @cached_property
    def tool_call_format(self) -> ToolCallFormat:
        """How its model writes tool calls."""
        return detect_format(self.chat_template) or load_format(DEFAULT_FORMAT)

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        variables: Mapping[str, Any] | None = None,
        tools: Sequence[Tool] = (),
        max_tokens: int | None = None,
    ) -> RenderedConversation:
        """Ids, loss mask and message spans of a conversation.

        Args:
            messages: the conversation.
            add_generation_prompt: end with what opens the assistant's next turn (serving).
            continue_final: leave the last message open so that the model goes on with it.
            variables: further values for the template; the operator's, since special tokens in them are special.
            tools: what the model is told it may call.
            max_tokens: the most tokens that the caller has a use for; what certainly has more is not tokenized.

        Raises:
            TooManyTokens: there are more than `max_tokens`; what is longer may pass.
            TemplateError: the template refuses the messages, or special-token text in a message cannot be told apart.
            InvalidParameter: a tool's definition spells a special token.
        """
        at, shown = self._demonstrations(messages)
        whole = [*messages[:at], *shown, *messages[at:]]
        tools = tools or self.tools
        rendered = self._render(whole, add_generation_prompt, continue_final_message, variables, tools, max_tokens)
        if not shown:
            return rendered
        own = rendered.spans[:at] + rendered.spans[at + len(shown) :]
        start = next((span[0] for span in own[at:] if span is not None), len(rendered.ids))
        return replace(rendered, loss_mask=[False] * start + rendered.loss_mask[start:], spans=own)

    def render_text(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> str:
        """The text of which `render` returns the ids, and nothing else: much quicker.

        Raises:
            TemplateError: the template refuses the messages.
        """
        at, shown = self._demonstrations(messages)
        laid_out, _, variables = self._laid_out([*messages[:at], *shown, *messages[at:]], None, self.tools)
        return self._apply(laid_out, variables, add_generation_prompt)

    def _demonstrations(self, messages: Sequence[Message]) -> tuple[int, Sequence[Message]]:
        """Messages that the model is shown first, and the index at which they are inserted."""
        return (0, []) if self.tokenizer.demonstrations is None else self.tokenizer.demonstrations.select(messages)

    def _render(
        self,
        messages: Sequence[Message],
        add_generation_prompt: bool,
        continue_final_message: bool,
        variables: Mapping[str, Any] | None,
        tools: Sequence[Tool],
        max_tokens: int | None,
    ) -> RenderedConversation:
        """What `render` says, of these messages and no others."""
        reject_special_tokens(messages, tools, self.tokenizer.special_tokens)
        messages, places, variables = self._laid_out(messages, variables, tools)

        def apply(messages: Sequence[Message]) -> str:
            return self._apply(messages, variables, add_generation_prompt)

        text = apply(messages)
        self.check_length(text, max_tokens)
        ranges = find_content_spans(messages, text, apply)
        breaks = self._breaks(messages, text, apply)
        if continue_final_message:
            text = text[: _end_of_last(ranges)]
        encoding = self._encode(text, breaks, max_tokens=max_tokens)
        self._check_apart(encoding, text, ranges)
        if detect_format(self.chat_template) is not None:
            ends = [token for token in self.tokenizer.special_tokens if token not in self.tool_call_format.closing]
            calls = find_tool_call_spans(
                messages, text, lambda some, prompt: self._apply(some, variables, prompt), ends
            )
            ranges = [calls.get(index, chars) for index, chars in enumerate(ranges)]
        if cuts := self._cuts(text, breaks, encoding, messages, ranges, variables):
            encoding = self._encode(text, breaks, cuts)
        spans = [_token_span(encoding, chars) for chars in ranges]
        mask = self._loss_mask(encoding, messages, spans)
        return RenderedConversation(encoding.ids, mask, [spans[place] for place in places], text, encoding.offsets)

    def _laid_out(
        self, messages: Sequence[Message], variables: Mapping[str, Any] | None, tools: Sequence[Tool]
    ) -> tuple[Sequence[Message], Sequence[int], Mapping[str, Any] | None]:
        """The messages as the template gets them, the index of each original one among them, and the variables."""
        messages = [_clean(message) for message in messages]
        places: Sequence[int] = range(len(messages))
        if detect_format(self.chat_template) is not None:
            messages = normalize_call_ids(messages, self.tool_call_format)
            variables = (
                {**(variables or {}), "tools": [dict(tool.definition) for tool in tools]} if tools else variables
            )
        elif tools or any(message.tool_calls or message.role == "tool" for message in messages):
            messages, places = write_tools_as_text(
                messages, tools, results=self._knows_results, system=self._shows_system
            )
        return messages, places, variables

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The bytes of the tokenizer's tokens."""
        return Vocabulary(self.tokenizer)

    @cached_property
    def token_lower_bound(self) -> TokenLowerBound:
        """How many tokens a text has at least."""
        return TokenLowerBound(self.tokenizer, self.vocabulary)

    @cached_property
    def grammar_compiler(self) -> GrammarCompiler:
        """Compiles grammars of answers for the tokenizer."""
        return GrammarCompiler(self.tokenizer, self.vocabulary)

    def prepare(self) -> None:
        """Build now what is made from the whole vocabulary, which the first requests would wait for otherwise.

        Building takes up to two seconds for 150,000 tokens, and for a part of them no other thread runs.
        """
        self.token_lower_bound  # noqa: B018
        self.vocabulary.prepare()
        self.grammar_compiler.prepare()

    def check_length(self, text: str, max_tokens: int | None) -> None:
        """Raise `TooManyTokens` for a text that certainly has more than `max_tokens`, without tokenizing it."""
        if max_tokens is not None and len(text) > SHORT and (count := self.token_lower_bound(text)) > max_tokens:
            raise TooManyTokens(count, is_exact=False)

    def _apply(self, messages: Sequence[Message], variables: Mapping[str, Any] | None, prompt: bool) -> str:
        return apply_chat_template(
            self.chat_template,
            [message.as_dict() for message in messages],
            variables={**self.tokenizer.special_tokens_map, **(variables or {})},
            add_generation_prompt=prompt,
        )

    @cached_property
    def _shows_system(self) -> bool:
        """Whether the template shows system messages: some refuse them, some leave them out."""
        probe = "turnwise-probe"
        try:
            return probe in self._apply([Message("system", probe), Message("user", "?")], None, True)
        except TemplateError:
            return False

    @cached_property
    def _knows_results(self) -> bool:
        """Whether the template opens a tool's message with a special token of its own, as Turnwise's does."""
        try:
            text = self._apply([Message("user", "?"), Message("tool", "?")], None, False)
        except TemplateError:
            return False
        return any("tool" in token and token in text for token in self.tokenizer.special_tokens)

    @cached_property
    def _special(self) -> re.Pattern[str] | None:
        """Where a special token's text begins; a look-ahead, so that overlapping ones are found as well."""
        texts = self.tokenizer.special_tokens
        return re.compile(f"(?={'|'.join(map(re.escape, texts))})") if texts else None

    def _breaks(self, messages: Sequence[Message], text: str, apply: Callable[[Sequence[Message]], str]) -> list[int]:
        """Places in `text` at which a special token that a message spells must be broken up."""
        written = "\0".join(f"{message.content}\0{message.name or ''}" for message in messages)
        if self._special is None or not any(token in written for token in self.tokenizer.special_tokens):
            return []
        broken = apply([self._broken_up(message, self._special) for message in messages])
        if strip_sentinels(broken) != text:
            raise TemplateError(
                "A message spells a special token and the chat template looks at it, so the two cannot be told apart. "
                "Leave the token's text out of the message."
            )
        return [match.start() - before for before, match in enumerate(re.finditer(BREAK_SENTINEL, broken))]

    @staticmethod
    def _broken_up(message: Message, special: re.Pattern[str]) -> Message:
        def break_up(text: str) -> str:
            starts = [match.start() + 1 for match in special.finditer(text)]
            return BREAK_SENTINEL.join(text[start:end] for start, end in pairwise([0, *starts, len(text)]))

        return replace(message, content=break_up(message.content), name=message.name and break_up(message.name))

    def _encode(
        self, text: str, breaks: Sequence[int], cuts: Sequence[int] = (), max_tokens: int | None = None
    ) -> Encoding:
        """Ids of the rendered text.

        Args:
            text: what the template made.
            breaks: places at which no special token may be recognised, in order.
            cuts: places at which the text is parted, as if what comes after were not there yet.
            max_tokens: the most tokens, where there is a limit and neither breaks nor cuts.
        """
        if not breaks and not cuts:
            return self.tokenizer.encode_with_offsets(text, allow_special=True, max_tokens=max_tokens)
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        for start, end in pairwise([0, *cuts, len(text)]):
            inside = list(breaks[bisect_right(breaks, start) : bisect_left(breaks, end)])
            # A mark in front keeps a tokenizer from treating the rest as the beginning of a text.
            places = [start, *inside] if start else inside
            part = self._encode_broken(text[start:end], [place - start for place in places])
            ids.extend(part.ids)
            offsets.extend((start + a, start + b) for a, b in part.offsets)
        return Encoding(ids, offsets)

    def _encode_broken(self, text: str, breaks: Sequence[int]) -> Encoding:
        """Encode with a mark at each break, and take the marks' ids out again."""
        if not breaks:
            return self.tokenizer.encode_with_offsets(text, allow_special=True)
        marked = BREAK_SENTINEL.join(text[start:end] for start, end in pairwise([0, *breaks, len(text)]))
        marks = [place + before for before, place in enumerate(breaks)]
        encoded = self.tokenizer.encode_with_offsets(marked, allow_special=True)
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        for id, (start, end) in zip(encoded.ids, encoded.offsets, strict=True):
            before, until = bisect_left(marks, start), bisect_left(marks, end)
            if before == until:
                ids.append(id)
                offsets.append((start - before, end - before))
            elif end - start > until - before:
                raise TemplateError(
                    "A message spells a special token in a way that this model's tokenizer cannot tell apart. "
                    "Leave the token's text out of the message."
                )
        return Encoding(ids, offsets)

    def _check_apart(self, encoding: Encoding, text: str, ranges: Sequence[CharSpan | None]) -> None:
        """Refuse a special token that came about half in a content and half outside it, or by rewriting a content."""
        contents = sorted(chars for chars in ranges if chars is not None)
        starts = [start for start, _ in contents]
        special_ids = self.tokenizer.special_ids
        for at in [at for at, id in enumerate(encoding.ids) if id in special_ids]:
            start, end = encoding.offsets[at]
            while start < end and text[start].isspace():  # some special tokens take the space around them
                start += 1
            while start < end and text[end - 1].isspace():
                end -= 1
            nearest = bisect_left(starts, end) - 1
            if nearest >= 0 and contents[nearest][1] > start:
                raise TemplateError("A message and the chat template together spell a special token. Change its text.")

    def _cuts(
        self,
        text: str,
        breaks: Sequence[int],
        encoding: Encoding,
        messages: Sequence[Message],
        ranges: Sequence[CharSpan | None],
        variables: Mapping[str, Any] | None,
    ) -> list[int]:
        """Ends of generation prompts at which the ids so far differ from those of the prompt alone."""
        cuts: list[int] = []
        detect_format = [r for m, r in zip(messages, ranges, strict=True) if m.role == "assistant" and r is not None]
        if not detect_format or not (opening := self._opening if not variables else self._opening_with(variables)):
            return []
        done = 0
        for start, end in detect_format:
            found = text.rfind(opening, done, start)
            done = end
            if found < 0:
                continue
            border = found + len(opening)
            after = bisect_left(encoding.offsets, border, key=lambda offset: offset[0])
            first = after - 1
            while first > 0 and encoding.ids[first] not in self.tokenizer.special_ids:
                first -= 1  # special tokens part a text, so it is enough to look back to the last one
            begin = encoding.offsets[first][0]
            inside = [place - begin for place in breaks if begin < place < border]
            if self._encode_broken(text[begin:border], inside).ids != encoding.ids[first:after]:
                cuts.append(border)
        return cuts

    @cached_property
    def _opening(self) -> str:
        return self._opening_with(None)

    def _opening_with(self, variables: Mapping[str, Any] | None) -> str:
        """What the template writes to open the assistant's turn; empty where a probe does not tell."""
        probe = [Message("user", "?")]
        try:
            closed, opened = (self._apply(probe, variables, prompt) for prompt in (False, True))
        except TemplateError:
            return ""
        return opened.removeprefix(closed) if opened.startswith(closed) else ""

    def _loss_mask(
        self, encoding: Encoding, messages: Sequence[Message], spans: Sequence[tuple[int, int] | None]
    ) -> list[bool]:
        """True on every assistant content up to and with the special token that ends its turn."""
        mask = [False] * len(encoding.ids)
        for i, (message, span) in enumerate(zip(messages, spans, strict=True)):
            if message.role != "assistant" or span is None:
                continue
            following = next((later[0] for later in spans[i + 1 :] if later is not None), len(encoding.ids))
            ends = (at + 1 for at in range(span[1], following) if encoding.ids[at] in self.tokenizer.special_ids)
            end = next(ends, span[1])
            mask[span[0] : end] = [True] * (end - span[0])
        return mask


def _clean(message: Message) -> Message:
    """Take our marks out of a message, in case somebody sends them."""
    name = message.name and strip_sentinels(message.name, "\ufffd")
    return replace(message, content=strip_sentinels(message.content, "\ufffd"), name=name)


def _end_of_last(ranges: Sequence[CharSpan | None]) -> int:
    last = ranges[-1] if ranges else None
    if last is None:
        raise TemplateError("The last message has no text in the rendered conversation, so it cannot be continued.")
    return last[1]


def _token_span(encoding: Encoding, chars: CharSpan | None) -> tuple[int, int] | None:
    """The ids that hold any of the characters; a token across the border belongs to the content."""
    if chars is None:
        return None
    first = bisect_right(encoding.offsets, chars[0], key=lambda offset: offset[1])
    last = bisect_left(encoding.offsets, chars[1], key=lambda offset: offset[0])
    return (first, last) if first < last else None
