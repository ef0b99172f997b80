"""Exported chats between people: splits the posts of a chat into dialogues and gives the speakers roles.

The user has to name the person in the role of the assistant, because an export has no roles.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from turnwise.core.messages import Conversation, Message
from turnwise.data.parse_context import ParseContext
from turnwise.data.rows import SpeakerNotFound, UnreadableFile

SESSION_GAP = timedelta(hours=6)  # a longer silence ends a dialogue


@dataclass(frozen=True, slots=True)
class ChatPost:
    """One message of a chat; `time` is None if the export has none or it cannot be parsed."""

    speaker: str
    text: str
    time: datetime | None = None


def split_into_dialogues(posts: Iterable[ChatPost], context: ParseContext) -> Iterator[Conversation]:
    """Yield the dialogues of a chat. Consecutive posts of a speaker become one message, joined by line breaks.

    Raises:
        UnreadableFile: the roles of the speakers are not configured.
        SpeakerNotFound: no post is by the person `context.assistant_name`.
    """
    posts = [post for post in posts if post.text.strip()]
    _check_speakers(posts, context)
    messages: list[Message] = []
    last_time: datetime | None = None
    is_group = len({post.speaker for post in posts}) > 2
    for post in posts:
        if messages and last_time and post.time and _utc(post.time) - _utc(last_time) > SESSION_GAP:
            yield Conversation(tuple(messages))
            messages = []
        last_time = post.time or last_time
        role = context.role(post.speaker)
        name = post.speaker if role == "user" and is_group else None
        if messages and messages[-1].role == role and messages[-1].name == name:
            messages[-1] = replace(messages[-1], content=f"{messages[-1].content}\n{post.text}")
        else:
            messages.append(Message(role, post.text, name))
    if messages:
        yield Conversation(tuple(messages))


def _utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _check_speakers(posts: list[ChatPost], context: ParseContext) -> None:
    """Raise if a speaker has no role or nobody is the assistant."""
    counts = Counter(post.speaker for post in posts)
    if not counts:
        raise UnreadableFile("The chat holds no messages.")
    roles = {speaker: context.find_role(speaker) for speaker in counts}
    if "assistant" in roles.values() and all(roles.values()):
        return
    names = ", ".join(f"{speaker} ({count:,})" for speaker, count in counts.most_common(8))
    if context.assistant_name is not None:
        raise SpeakerNotFound(f"Nobody in the chat is called '{context.assistant_name}'. The speakers are {names}.")
    first = counts.most_common(1)[0][0]
    raise UnreadableFile(
        f"It is a chat between people: {names}. Name the person whose messages are the replies, such as "
        f"--assistant-name '{first}'."
    )


def parse_time(value: object) -> datetime | None:
    """Parse a time in ISO 8601 or in seconds since 1970; None for anything else."""
    try:
        if isinstance(value, int | float) or (isinstance(value, str) and value.replace(".", "", 1).isdigit()):
            return datetime.fromtimestamp(float(value), UTC)
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except (ValueError, OverflowError, OSError):
        return None
