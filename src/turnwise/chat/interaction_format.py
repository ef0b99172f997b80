"""Interaction formats: how input is received, how it is put before the model, and how output becomes a reply.

A format makes a chat template with a turn format (`text.chat_templates.turn_format`). Training, evaluation and serving
render with this template, so they use the same token ids. A folder trained with a format keeps the template, and is
served with its stop strings by every program of this package.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from turnwise.core.chat_response import Usage
from turnwise.core.errors import TemplateError
from turnwise.core.messages import Message
from turnwise.core.strict_model import StrictModel
from turnwise.text.chat_templates.turn_format import TurnFormat
from turnwise.text.tokenization.tokenizer import Tokenizer

NO_USAGE = Usage(0, 0)


class PromptWriter(Protocol):
    """The model, for a format that asks it before the reply."""

    async def write(self, text: str, max_tokens: int) -> tuple[str, Usage]:
        """The model's greedy response to `text` as the only message, of at most `max_tokens` tokens, and the usage."""


@dataclass(frozen=True, slots=True)
class PreparedTurn:
    """What a format makes of a conversation before the model replies.

    Attributes:
        messages: messages to render.
        reply: a reply that needs no model; None: the model replies.
        usage: tokens spent on the preparation.
    """

    messages: tuple[Message, ...]
    reply: str | None = None
    usage: Usage = NO_USAGE


class InteractionFormat(StrictModel):
    """Base class of formats; its fields are the options of a format.

    Attributes:
        NAME: name in flags, recipes and requests; the loader sets it to the name of the module.
        SUMMARY: one line for lists.
        PREPARES: True if `prepare` does anything.
    """

    NAME: ClassVar[str] = ""
    SUMMARY: ClassVar[str] = ""
    PREPARES: ClassVar[bool] = False

    def chat_template(self, tokenizer: Tokenizer) -> str:
        """The chat template of the format for a model.

        Raises:
            TemplateError: the model lacks what the format needs, such as a chat template.
        """
        raise NotImplementedError

    def receive(self, text: str) -> tuple[Message, ...]:
        """The messages of a text that was typed as one prompt. Default: one user message."""
        return (Message("user", text),)

    async def prepare(self, messages: tuple[Message, ...], writer: PromptWriter) -> PreparedTurn:
        """Change the conversation before it is rendered, or reply without the model. Default: change nothing."""
        del writer
        return PreparedTurn(messages)

    def turn_format(self, **values: Any) -> TurnFormat:
        """A turn format with the name and the options of this format, to put at the top of its template."""
        options = self.model_dump(mode="json", exclude_defaults=True)
        return TurnFormat(name=self.NAME, options=options, **values)


def text_template(turn_format: TurnFormat, body: str, tokenizer: Tokenizer) -> str:
    """A template of plain text: the turn format, the start token if the tokenizer puts one before texts, the body."""
    start = "{{- bos_token -}}" if tokenizer.bos_ids and "bos_token" in tokenizer.special_tokens_map else ""
    return f"{turn_format.statement}{start}{body}"


def require_end_token(tokenizer: Tokenizer, format_name: str) -> None:
    """Raise `TemplateError` if the tokenizer has no end-of-text token."""
    if "eos_token" not in tokenizer.special_tokens_map:
        raise TemplateError(f"The format '{format_name}' ends turns with the end-of-text token; this model has none.")


def split_transcript(text: str, roles: Sequence[tuple[str, Message]]) -> tuple[Message, ...] | None:
    """Split a transcript of lines such as `Human: Hello` into messages.

    A transcript begins with the mark of a speaker; a line without a mark continues the message before it. The two
    characters backslash and n before a mark, which shells do not turn into a line break, count as one.

    Args:
        text: the transcript.
        roles: the mark of each speaker (`Human:`), and a message of theirs to take role and name from.

    Returns:
        The messages; None if the text is no transcript. A mark without text at the end asks for the reply of its
        speaker and is no message.
    """
    for mark, _ in roles:
        text = text.replace(f"\\n{mark}", f"\n{mark}")
    messages: list[Message] = []
    lines: list[str] = []
    current: Message | None = None

    def finish() -> None:
        if current is not None:
            messages.append(Message(current.role, "\n".join(lines).strip(), name=current.name))

    for line in text.strip("\n").split("\n"):
        match = next(((mark, message) for mark, message in roles if line.startswith(mark)), None)
        if match is not None:
            finish()
            current, lines = match[1], [line[len(match[0]) :]]
        elif current is None:
            return None
        else:
            lines.append(line)
    finish()
    if messages and messages[-1].role == "assistant" and not messages[-1].content:
        messages.pop()
    return tuple(messages) or None
