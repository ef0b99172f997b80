"""The renderer: converts messages to token ids with an assistant mask and the span of every message.

Training, evaluation and serving all use `Renderer.render`, so that they agree about the chat template. It guarantees:

* For ordinary messages the ids equal those of transformers' `apply_chat_template(tokenize=True)`.
* The text of a special token in a message stays text. Only the template can start or end a turn.
* The prompt of serving equals the ids before the reply in training. If a template renders a reply after the text of
  its prompt, the ids before the reply are those of `add_generation_prompt`. Where a tokenizer would merge the two (a
  content that starts with a line break after a line break of the template), they are encoded separately, unlike in
  transformers. Templates that render the last reply differently break this for a single rendering, so training uses
  `reply_spans`, which compares every prefix with its prompt.

The template is rendered again with invisible sentinels to locate contents (`content_spans`) and special tokens in them
(`literal_special_tokens`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from turnwise.core.errors import TemplateError
from turnwise.core.messages import Message
from turnwise.core.tools import Tool
from turnwise.text.chat_templates.turn_format import TurnFormat, read_turn_format
from turnwise.text.constraints.grammar_compiler import GrammarCompiler
from turnwise.text.rendering.assistant_mask import build_assistant_mask, find_token_span
from turnwise.text.rendering.content_spans import CharSpan, find_content_spans
from turnwise.text.rendering.literal_special_tokens import find_breaks, reject_mixed_special_tokens
from turnwise.text.rendering.prompt_splits import find_prompt_splits
from turnwise.text.rendering.rendered_conversation import RenderedConversation
from turnwise.text.rendering.reply_ends import extend_over_stop, stop_strings
from turnwise.text.rendering.segmented_encoding import encode_segments
from turnwise.text.rendering.template_renderer import TemplateRenderer
from turnwise.text.rendering.tool_call_spans import find_tool_call_spans
from turnwise.text.rendering.tool_prompt import reject_special_tokens
from turnwise.text.tokenization.encoding import TooManyTokens
from turnwise.text.tokenization.token_lower_bound import TokenLowerBound
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.text.tokenization.vocabulary import Vocabulary
from turnwise.text.tool_call_formats import ToolCallFormat

# Longer texts are checked with a lower bound first. Shorter ones are tokenized, so that an error has the exact count.
MIN_CHARACTERS_FOR_LOWER_BOUND = 65_536
# For checkpoints without a template, such as DialoGPT: turns end with the end-of-text token (Zhang et al. 2020).
FALLBACK_CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] }}{{ eos_token }}{% endfor %}"


@dataclass(frozen=True)
class Renderer:
    """Renders conversations for one tokenizer and chat template.

    Attributes:
        tokenizer: the tokenizer.
        chat_template: the Jinja template.
        tools: tools of conversations that have no tools of their own.
    """

    tokenizer: Tokenizer
    chat_template: str
    tools: tuple[Tool, ...] = ()

    @classmethod
    def from_tokenizer(cls, tokenizer: Tokenizer) -> "Renderer":
        """Create a renderer with the tokenizer's template, or with `FALLBACK_CHAT_TEMPLATE`.

        Raises:
            TemplateError: the tokenizer has neither a chat template nor an end-of-text token.
        """
        if tokenizer.chat_template is not None:
            return cls(tokenizer, tokenizer.chat_template)
        if "eos_token" not in tokenizer.special_tokens_map:
            raise TemplateError("This model has neither a chat template nor an end-of-text token to separate turns.")
        return cls(tokenizer, FALLBACK_CHAT_TEMPLATE)

    def with_tools(self, tools: tuple[Tool, ...]) -> "Renderer":
        """A renderer with these default tools."""
        return replace(self, tools=tools) if tools else self

    @cached_property
    def tool_call_format(self) -> ToolCallFormat:
        """The format of tool calls in the model's output."""
        return self._template.tool_call_format

    @cached_property
    def turn_format(self) -> TurnFormat:
        """How replies end besides by a stop token (`chat_templates.turn_format`)."""
        return read_turn_format(self.chat_template)

    def stop_strings(self, messages: Sequence[Message], variables: Mapping[str, Any] | None = None) -> tuple[str, ...]:
        """Texts that end the reply to `messages`, by the turn format of the template."""
        return stop_strings(self.turn_format, messages, (variables or {}).get("speaker"))

    @property
    def generation_prompt(self) -> str:
        """The text that opens an assistant message; empty if it cannot be determined."""
        return self._template.generation_prompt()

    def prompt_variables(self, reply: Message) -> Mapping[str, Any] | None:
        """Variables of the prompt of a reply: who speaks, if the template names speakers."""
        turn_format = self.turn_format
        return {"speaker": reply.name or turn_format.speaker} if turn_format.stop_at_speakers else None

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Bytes of the tokenizer's tokens."""
        return Vocabulary(self.tokenizer)

    @cached_property
    def token_lower_bound(self) -> TokenLowerBound:
        """Lower bound of the number of tokens of a text."""
        return TokenLowerBound(self.tokenizer, self.vocabulary)

    @cached_property
    def grammar_compiler(self) -> GrammarCompiler:
        """Compiler of grammars for the tokenizer."""
        return GrammarCompiler(self.tokenizer, self.vocabulary)

    @cached_property
    def _template(self) -> TemplateRenderer:
        return TemplateRenderer(self.chat_template, self.tokenizer.special_tokens_map, self.tokenizer.special_tokens)

    def prepare(self) -> None:
        """Build the tables of the vocabulary now instead of during the first request.

        Takes up to two seconds for 150,000 tokens. The GIL is held for a part of that time.
        """
        self.token_lower_bound  # noqa: B018
        self.vocabulary.prepare()
        self.grammar_compiler.prepare()

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
        """Render a conversation.

        Args:
            messages: messages of the conversation.
            add_generation_prompt: append the start of an assistant message, for serving.
            continue_final_message: end after the content of the last message, so that the model continues it.
            variables: further template variables. Special tokens in them are recognized, so they must be trusted.
            tools: tools that the model may call. Default: the renderer's tools.
            max_tokens: longer conversations may be rejected before they are tokenized.

        Raises:
            TooManyTokens: there are more than `max_tokens`. Not raised for every conversation that is too long.
            TemplateError: the template rejects the messages, or special tokens in a message cannot be kept as text.
            InvalidParameter: the definition of a tool contains a special token.
        """
        position, demonstrations = self._select_demonstrations(messages)
        rendered = self._render(
            [*messages[:position], *demonstrations, *messages[position:]],
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
            variables=variables,
            tools=tools or self.tools,
            max_tokens=max_tokens,
        )
        if not demonstrations:
            return rendered
        # Demonstrations have no spans and are not trained on.
        spans = rendered.spans[:position] + rendered.spans[position + len(demonstrations) :]
        start = next((span[0] for span in spans[position:] if span is not None), len(rendered.ids))
        return replace(rendered, assistant_mask=[False] * start + rendered.assistant_mask[start:], spans=spans)

    def render_text(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = False,
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        """The text whose ids `render` returns for the same arguments. Much faster, since nothing is tokenized.

        Raises:
            TemplateError: the template rejects the messages.
        """
        position, demonstrations = self._select_demonstrations(messages)
        template_input = self._template.prepare_input(
            [*messages[:position], *demonstrations, *messages[position:]], variables, self.tools
        )
        return self._template.apply(
            template_input.messages, variables=template_input.variables, add_generation_prompt=add_generation_prompt
        )

    def check_length(self, text: str, max_tokens: int | None) -> None:
        """Reject a long text that certainly has more than `max_tokens`, without tokenizing it.

        Raises:
            TooManyTokens: the lower bound exceeds `max_tokens`.
        """
        if max_tokens is None or len(text) <= MIN_CHARACTERS_FOR_LOWER_BOUND:
            return
        if (count := self.token_lower_bound(text)) > max_tokens:
            raise TooManyTokens(count, is_exact=False)

    def _select_demonstrations(self, messages: Sequence[Message]) -> tuple[int, Sequence[Message]]:
        """Demonstrations for a conversation, and the index at which they are inserted."""
        demonstrations = self.tokenizer.demonstrations
        return (0, []) if demonstrations is None else demonstrations.select(messages)

    def _render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool,
        continue_final_message: bool,
        variables: Mapping[str, Any] | None,
        tools: Sequence[Tool],
        max_tokens: int | None,
    ) -> RenderedConversation:
        """Render without adding demonstrations."""
        tokenizer, template = self.tokenizer, self._template
        reject_special_tokens(messages, tools, tokenizer.special_tokens)
        template_input = template.prepare_input(messages, variables, tools)
        messages, variables = template_input.messages, template_input.variables

        def apply(messages: Sequence[Message]) -> str:
            return template.apply(messages, variables=variables, add_generation_prompt=add_generation_prompt)

        text = apply(messages)
        self.check_length(text, max_tokens)
        contents = find_content_spans(messages, text, apply)
        breaks = find_breaks(messages, text, apply, tokenizer.special_tokens)
        if continue_final_message:
            text = text[: _end_of_final_content(contents)]
        encoding = encode_segments(tokenizer, text, breaks, max_tokens=max_tokens)
        reject_mixed_special_tokens(encoding, text, contents, tokenizer.special_ids)
        if template.renders_tools:
            contents = self._replace_by_tool_calls(contents, messages, text, variables)
        replies = [
            span
            for message, span in zip(messages, contents, strict=True)
            if message.role == "assistant" and span is not None
        ]
        if replies and (generation_prompt := template.generation_prompt(variables)):
            splits = find_prompt_splits(
                tokenizer, text, encoding, replies, breaks=breaks, generation_prompt=generation_prompt
            )
            if splits:
                encoding = encode_segments(tokenizer, text, breaks, splits)
        spans = [find_token_span(encoding, span) for span in contents]
        reply_spans = spans
        if stops := self.stop_strings(messages, variables):
            reply_spans = [find_token_span(encoding, span and extend_over_stop(text, span, stops)) for span in contents]
        assistant_mask = build_assistant_mask(
            encoding.ids, messages, reply_spans, frozenset() if stops else tokenizer.special_ids
        )
        original_spans = [spans[index] for index in template_input.indices]
        return RenderedConversation(encoding.ids, assistant_mask, original_spans, text, encoding.offsets)

    def _replace_by_tool_calls(
        self,
        contents: Sequence[CharSpan | None],
        messages: Sequence[Message],
        text: str,
        variables: Mapping[str, Any] | None,
    ) -> list[CharSpan | None]:
        """The spans of contents, or for messages with tool calls the spans of content and calls."""

        def apply(messages: Sequence[Message], add_generation_prompt: bool) -> str:
            return self._template.apply(messages, variables=variables, add_generation_prompt=add_generation_prompt)

        closing = self.tool_call_format.closing
        turn_ends = [token for token in self.tokenizer.special_tokens if token not in closing]
        calls = find_tool_call_spans(messages, text, apply, turn_ends)
        return [calls.get(index, span) for index, span in enumerate(contents)]


def _end_of_final_content(contents: Sequence[CharSpan | None]) -> int:
    final = contents[-1] if contents else None
    if final is None:
        raise TemplateError("The last message has no text in the rendered conversation, so it cannot be continued.")
    return final[1]
