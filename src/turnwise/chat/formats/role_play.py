"""Role play: named speakers, one line of text each; the model continues as one of them.

The name of a speaker is the `name` of a message. The model writes for the speaker in the template variable `speaker`;
default: the last assistant of the conversation. It never writes for another one: a reply ends where the name of a
speaker starts a line. A name at the start of a line in a message is indented by a space, so that no message opens a
turn.
"""

from typing import ClassVar

from pydantic import Field

from turnwise.chat.interaction_format import InteractionFormat, split_transcript, text_template
from turnwise.core.messages import Message
from turnwise.text.tokenization.tokenizer import Tokenizer

NAME_PATTERN = r"^[^:\n]{1,60}$"
TEMPLATE = r"""
{%- set cast = namespace(speaker=turn_format.speaker or "Assistant", other="", last="") -%}
{%- set cast.user = turn_format.user or "User" -%}
{%- set cast.default = cast.speaker -%}
{%- set cast.names = [cast.user, cast.speaker] + ([speaker] if speaker else []) -%}
{%- for message in messages if message.role not in ["system", "developer"] -%}
{%- set name = (message.name or (cast.default if message.role == "assistant" else cast.user)).replace("\n", " ") -%}
{%- if name not in cast.names -%}{%- set cast.names = cast.names + [name] -%}{%- endif -%}
{%- if message.role == "assistant" -%}{%- set cast.speaker = name -%}{%- endif -%}
{%- if cast.last and cast.last != name -%}{%- set cast.other = cast.last -%}{%- endif -%}
{%- set cast.last = name -%}
{%- endfor -%}
{%- for message in messages -%}
{%- set cast.content = (message.content or "") | trim -%}
{%- for name in cast.names -%}
{%- set cast.content = cast.content.replace("\n" + name + ":", "\n " + name + ":") -%}
{%- endfor -%}
{%- if message.role in ["system", "developer"] -%}{{ cast.content + "\n\n" }}
{%- else -%}
{%- set name = (message.name or (cast.default if message.role == "assistant" else cast.user)).replace("\n", " ") -%}
{{ name + ": " + cast.content + "\n" }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ (speaker or cast.speaker).replace("\n", " ") + ":" }}
{%- elif messages and messages[-1].role == "assistant" -%}{{ (cast.other or cast.user) + ":" }}
{%- endif -%}
"""


class RolePlayFormat(InteractionFormat):
    """Named speakers; the model continues as one of them.

    Attributes:
        speaker: name of assistant messages without a name.
        user: name of user messages without a name.
    """

    SUMMARY: ClassVar[str] = "named speakers, of whom the model plays one"

    speaker: str = Field("Assistant", pattern=NAME_PATTERN)
    user: str = Field("User", pattern=NAME_PATTERN)

    def chat_template(self, tokenizer: Tokenizer) -> str:
        """The template; it needs no special token."""
        turn_format = self.turn_format(stop_at_speakers=True, trim=True, speaker=self.speaker, user=self.user)
        return text_template(turn_format, TEMPLATE.strip(), tokenizer)

    def receive(self, text: str) -> tuple[Message, ...]:
        """The turns of a transcript of the two default speakers."""
        roles = ((f"{self.user}:", Message("user", "")), (f"{self.speaker}:", Message("assistant", "")))
        return split_transcript(text, roles) or super().receive(text)
