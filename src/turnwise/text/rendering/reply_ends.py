"""Where replies end in templates without an end-of-turn token: at stop strings, such as the next speaker's name."""

from collections.abc import Sequence

from turnwise.core.exchanges import SYSTEM_ROLES
from turnwise.core.messages import Message
from turnwise.text.chat_templates.turn_format import TurnFormat
from turnwise.text.rendering.content_spans import CharSpan

MAX_SPEAKERS = 64  # of a conversation, the latest ones; each is searched in every response


def stop_strings(turn_format: TurnFormat, messages: Sequence[Message], speaker: str | None = None) -> tuple[str, ...]:
    """Texts that end a reply to `messages`.

    Args:
        turn_format: the turn format of the template.
        messages: the conversation.
        speaker: name of the speaker who replies, if it is no one of the conversation.
    """
    if not turn_format.stop_at_speakers:
        return turn_format.stop
    names = [_one_line(message.name) for message in messages if message.name and message.role not in SYSTEM_ROLES]
    latest = list(dict.fromkeys(reversed(names)))[:MAX_SPEAKERS]
    defaults = [turn_format.user, turn_format.speaker, *([speaker] if speaker else [])]
    return tuple(dict.fromkeys((*turn_format.stop, *(f"\n{name}:" for name in (*defaults, *latest)))))


def _one_line(name: str) -> str:
    """The name as templates show it."""
    return name.replace("\n", " ")


def extend_over_stop(text: str, span: CharSpan, stops: Sequence[str]) -> CharSpan:
    """The characters that the model generates for a reply: with the space before it, and the stop string after it.

    Args:
        text: the rendered conversation.
        span: characters of the reply's content.
        stops: stop strings of the conversation. Of several that follow the reply, the longest one counts.
    """
    start, end = span
    if start and text[start - 1] == " ":
        start -= 1
    return start, end + max((len(stop) for stop in stops if text.startswith(stop, end)), default=0)
