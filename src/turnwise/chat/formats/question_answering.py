"""Question answering: the model sees one stand-alone question in its own chat template, without the history.

For a question that follows others, the model first writes the stand-alone question from the history. It is used only if
it passes `is_valid_rewrite`; otherwise the original question is asked. (Query rewriting: Vakulenko et al. 2021,
"Question rewriting for conversational question answering".)

A message without a word gets a clarifying question. A form of *slots* is filled before the first answer: each slot has
a pattern that is searched in the user's messages, and while one is missing, its question is the reply. Neither needs
the model.

In training, every reply follows the question before it, without the history.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from pydantic import Field, field_validator

from turnwise.chat.interaction_format import NO_USAGE, InteractionFormat, PreparedTurn, PromptWriter
from turnwise.core.messages import Message
from turnwise.core.strict_model import StrictModel
from turnwise.text.chat_templates.turn_format import read_turn_format
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.text.word_tokens import split_words

MAX_HISTORY_MESSAGES = 6  # in the request for a stand-alone question
MAX_MESSAGE_CHARS = 500  # of each of them
MAX_QUESTION_TOKENS = 96
MAX_SEARCHED_CHARS = 2_000  # of a message, so that a slow pattern cannot stall the server
MIN_SHARED_WORDS = 0.5  # share of the content words of the question that a stand-alone question keeps
MAX_EXTRA_WORDS = 25  # that a stand-alone question has more than the question

REWRITE_REQUEST = """\
{transcript}

Rewrite the user's last message so that it can be understood without the messages before it. Replace words such as \
"it" or "there" by what they stand for. Keep its meaning and its language. Do not answer it. Write nothing but the \
rewritten message.

Last message: {question}
Rewritten message:"""

# Keeps leading system messages and everything from the last user message on.
CUT_HISTORY = """\
{%- set cut = namespace(system=[], turn=[], leading=true) -%}
{%- for message in messages -%}
{%- if message.role in ["system", "developer"] and cut.leading -%}{%- set cut.system = cut.system + [message] -%}
{%- else -%}{%- set cut.leading = false -%}
{%- set cut.turn = [message] if message.role == "user" else cut.turn + [message] -%}
{%- endif -%}
{%- endfor -%}
{%- set messages = cut.system + cut.turn -%}
"""
# Words that a stand-alone question may lose or gain freely.
FUNCTION_WORDS = frozenset(
    split_words(
        "a an and are as at be been but by can could did do does for from had has have he her him his how i if in is "
        "it its me my of on one ones or our please she should so tell than that the their them then there these they "
        "this those to us was we were what when where which who whom whose why will with would you your about"
    )
)


class Slot(StrictModel):
    """A value that is needed before an answer.

    Attributes:
        name: its name, which the model sees together with the value.
        question: asks the user for it.
        pattern: regular expression; the value is its first group, or all of it. The last match counts.
    """

    name: str = Field(min_length=1)
    question: str = Field(min_length=1)
    pattern: str

    @field_validator("pattern")
    @classmethod
    def _check_pattern(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"is not a regular expression: {error}") from error
        return pattern


class QuestionAnsweringFormat(InteractionFormat):
    """One stand-alone question at a time.

    Attributes:
        rewrite: write stand-alone questions; False: ask the original ones.
        clarifying_question: reply to a message without a word.
        slots: values that are needed before an answer.
    """

    SUMMARY: ClassVar[str] = "one stand-alone question, written from the history by the model"
    PREPARES: ClassVar[bool] = True

    rewrite: bool = True
    clarifying_question: str = Field("What would you like to know?", min_length=1)
    slots: tuple[Slot, ...] = ()

    def chat_template(self, tokenizer: Tokenizer) -> str:
        """The model's own template without the history. Raises `TemplateError` if the model has none."""
        template = Renderer.from_tokenizer(tokenizer).chat_template
        format_of_model = read_turn_format(template)
        values = format_of_model.model_dump(exclude={"name", "options"})
        return f"{self.turn_format(**values).statement}{CUT_HISTORY}{template}"

    async def prepare(self, messages: tuple[Message, ...], writer: PromptWriter) -> PreparedTurn:
        """The messages with a stand-alone question; or a reply that asks for what is missing."""
        index = next((i for i in reversed(range(len(messages))) if messages[i].role == "user"), None)
        if index is None or index < len(messages) - 1:  # tool results are being answered
            return PreparedTurn(messages)
        question = messages[index].content
        if not split_words(question):
            return PreparedTurn(messages, reply=self.clarifying_question)
        values = self.find_slots(messages)
        missing = next((slot for slot in self.slots if slot.name not in values), None)
        if missing is not None:
            return PreparedTurn(messages, reply=missing.question)
        history, usage = [m for m in messages[:index] if m.role in ("user", "assistant") and m.content], NO_USAGE
        if self.rewrite and history:
            text, usage = await writer.write(_rewrite_request(history, question), MAX_QUESTION_TOKENS)
            rewritten = clean_rewrite(text)
            if is_valid_rewrite(rewritten, question, history):
                question = rewritten
        if values:
            record = "\n".join(f"{name}: {value}" for name, value in values.items())
            question = f"{record}\n\n{question}"
        return PreparedTurn((*messages[:index], replace(messages[index], content=question)), usage=usage)

    def find_slots(self, messages: Sequence[Message]) -> Mapping[str, str]:
        """Values of the slots in the user's messages, by name; the latest one counts."""
        values: dict[str, str] = {}
        for slot in self.slots:
            for message in messages:
                if message.role != "user":
                    continue
                for match in re.finditer(slot.pattern, message.content[:MAX_SEARCHED_CHARS]):
                    values[slot.name] = match.group(1) if match.re.groups and match.group(1) else match.group()
        return values


def clean_rewrite(text: str) -> str:
    """The first line of a response, without quotation marks around it."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return lines[0].strip("\"“”'` ") if lines else ""


def is_valid_rewrite(rewritten: str, question: str, history: Sequence[Message]) -> bool:
    """True if a stand-alone question asks the same thing, as far as its words can tell.

    It keeps at least half of the content words and all numbers of the question, and its other content words and numbers
    come from the history. So neither an answer nor an invented topic passes.
    """
    new_words, old_words = split_words(rewritten), split_words(question)
    if not new_words or len(new_words) > len(old_words) + MAX_EXTRA_WORDS:
        return False
    content, rewritten_content = _content_words(old_words), _content_words(new_words)
    if not rewritten_content:
        return False
    numbers = {word for word in content if word.isdigit()}
    if not numbers <= rewritten_content or len(content & rewritten_content) < MIN_SHARED_WORDS * len(content):
        return False
    sources = content | _content_words([word for message in history for word in split_words(message.content)])
    return all(_is_form_of_any(word, sources) for word in rewritten_content)


def _content_words(words: Sequence[str]) -> set[str]:
    return {word.lower() for word in words} - FUNCTION_WORDS - {word for word in words if not word[0].isalnum()}


def _is_form_of_any(word: str, sources: set[str]) -> bool:
    """True if the word, or another form of it with the same beginning, is among the sources."""
    stem = word[: max(4, len(word) - 3)]
    return word in sources or (not word.isdigit() and any(source.startswith(stem) for source in sources))


def _rewrite_request(history: Sequence[Message], question: str) -> str:
    lines = [f"{m.role}: {m.content[:MAX_MESSAGE_CHARS]}" for m in history[-MAX_HISTORY_MESSAGES:]]
    return REWRITE_REQUEST.format(transcript="\n".join([*lines, f"user: {question}"]), question=question)
