"""Plain text for base models without a chat template: `Human: …` and `Assistant: …`, a line break between turns.

A reply ends where the model writes the user's mark at the start of a line. In training this mark is a part of every
reply, so a tuned model learns to write it. A mark at the start of a line in a message is indented by a space, so that
no message opens a turn.
"""

from typing import ClassVar

from turnwise.chat.interaction_format import InteractionFormat, split_transcript, text_template
from turnwise.core.messages import Message
from turnwise.text.tokenization.tokenizer import Tokenizer

HUMAN, ASSISTANT = "Human:", "Assistant:"
TEMPLATE = r"""
{%- for message in messages -%}
{%- set content = (message.content or "") | trim -%}
{%- set content = content.replace("\nHuman:", "\n Human:").replace("\nAssistant:", "\n Assistant:") -%}
{%- if message.role == "user" -%}{{ "Human: " + content + "\n" }}
{%- elif message.role == "assistant" -%}{{ "Assistant: " + content + "\n" }}
{%- else -%}{{ content + "\n\n" }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ "Assistant:" }}
{%- elif messages and messages[-1].role == "assistant" -%}{{ "Human:" }}
{%- endif -%}
"""


class HumanAssistantFormat(InteractionFormat):
    """`Human:` and `Assistant:` before the turns."""

    SUMMARY: ClassVar[str] = "plain text with 'Human:' and 'Assistant:', for base models without a chat template"

    def chat_template(self, tokenizer: Tokenizer) -> str:
        """The template; it needs no special token."""
        return text_template(self.turn_format(stop=(f"\n{HUMAN}",), trim=True), TEMPLATE.strip(), tokenizer)

    def receive(self, text: str) -> tuple[Message, ...]:
        """The turns of a transcript that starts with `Human:`, such as `Human: Hello\\nAssistant:`."""
        roles = ((HUMAN, Message("user", "")), (ASSISTANT, Message("assistant", "")))
        return split_transcript(text, roles) or super().receive(text)
