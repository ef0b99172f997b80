"""Chats of people: which of them is the assistant has to be said, and a long silence ends a dialogue."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from turnwise.core.messages import Conversation, Message
from turnwise.data.parse_context import ParseContext
from turnwise.data.rows import SpeakerAbsent, UnreadableFile

SESSION_GAP = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class ChatPost:
    """One message of a chat; `time` is None where the export has none that can be read."""

    speaker: str
    text: str
    time: datetime | None = None


def split_into_dialogues(posts: Iterable[ChatPost], context: ParseContext) -> Iterator[Conversation]:
    """The dialogues of a chat. Posts of the same speaker in a row are one message, a line each.

    Raises `Unreadable` where it is not known whose messages are the replies, `SpeakerAbsent` where none are.
    """
    posts = [post for post in posts if post.text.strip()]
    _check_speakers(posts, context)
    held: list[Message] = []
    last: datetime | None = None
    speakers = {post.speaker for post in posts}
    for post in posts:
        if held and last and post.time and _utc(post.time) - _utc(last) > SESSION_GAP:
            yield Conversation(tuple(held))
            held = []
        last = post.time or last
        role = context.role(post.speaker)
        name = post.speaker if role == "user" and len(speakers) > 2 else None
        if held and held[-1].role == role and held[-1].name == name:
            held[-1] = replace(held[-1], content=f"{held[-1].content}\n{post.text}")
        else:
            held.append(Message(role, post.text, name))
    if held:
        yield Conversation(tuple(held))


def _utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _check_speakers(posts: list[ChatPost], context: ParseContext) -> None:
    counts = Counter(post.speaker for post in posts)
    if not counts:
        raise UnreadableFile("The chat holds no messages.")
    roles = {speaker: context.find_role(speaker) for speaker in counts}
    if "assistant" in roles.values() and all(roles.values()):
        return
    names = ", ".join(f"{speaker} ({count:,})" for speaker, count in counts.most_common(8))
    if context.me is not None:
        raise SpeakerAbsent(f"Nobody in the chat is called '{context.me}'. The speakers are {names}.")
    first = counts.most_common(1)[0][0]
    raise UnreadableFile(
        f"It is a chat of people: {names}. Say whose messages are the replies to learn, such as --me '{first}'."
    )


def parse_time(value: object) -> datetime | None:
    """A time in ISO 8601 or in seconds since 1970; None for anything else."""
    try:
        if isinstance(value, int | float) or (isinstance(value, str) and value.replace(".", "", 1).isdigit()):
            return datetime.fromtimestamp(float(value), UTC)
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except (ValueError, OverflowError, OSError):
        return None
