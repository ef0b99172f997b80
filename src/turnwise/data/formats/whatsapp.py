"""WhatsApp: a chat exported (.txt) from a phone; --assistant-name NAME sets whose messages are replies."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import BinaryIO

from turnwise.data.chat_export import ChatPost, split_into_dialogues
from turnwise.data.lines import numbered_lines
from turnwise.data.parse_context import ParseContext
from turnwise.data.rows import BadRow, FileSample, RowResult

EXPECTED = 'lines such as "12/03/2024, 18:05 - Ada: Hello" or "[12.03.24, 18:05:11] Ada: Hello"'
EXAMPLE = """\
12/03/2024, 18:05 - Messages and calls are end-to-end encrypted.
12/03/2024, 18:06 - Bob: Is the mill open?
12/03/2024, 18:07 - Ada: Until six.
Come soon!
"""
EXAMPLE_ASSISTANT_NAME = "Ada"
_DATE = r"(\d{1,4}[./-]\d{1,2}[./-]\d{1,4})"
_TIME = r"(?:(上午|下午|午前|午後|오전|오후)\s?)?(\d{1,2}[:.]\d{2}(?:[:.]\d{2})?)(?:[\s\u202f]?([AaPp])\.?\s?[Mm]\.?)?"
_START = re.compile(rf"[\u200e\u200f\ufeff]*(?:\[{_DATE},?\s+{_TIME}\]\s*|{_DATE},?\s+{_TIME}\s+[-–]\s+)")
_POST = re.compile(r"[\u200e\u200f~\u202f]*\s*([^:\n]{1,60}?):\s(.*)", re.DOTALL)
_AFTERNOON = {"P", "p", "下午", "午後", "오후"}
_MEDIA = re.compile(
    r"\u200e?(?:<Media omitted>|<Medien ausgeschlossen>|<attached: .*>"
    r"|(?:image|video|audio|sticker|GIF|document) omitted"
    r"|<Multimedia omitido>|<Médias omis>|This message was deleted|You deleted this message|null)\.?",
    re.IGNORECASE,
)
_EDITED = re.compile(r"\s*<This message was edited>\s*$")


def sniff(sample: FileSample) -> float:
    """High if the first lines start with a date, and one of them continues with a name."""
    lines = [line for line in sample.text.split("\n")[:30] if line.strip()]
    starts = [match for line in lines if (match := _START.match(line))]
    posts = [match for match in starts if _POST.match(match.string, match.end())]
    return 0.95 if posts and lines and _START.match(lines[0]) and len(starts) * 3 >= len(lines) else 0.0


def read(file: BinaryIO, context: ParseContext) -> Iterator[RowResult]:
    """Yield the dialogues of the chat. System messages and omitted media are skipped."""
    posts: list[tuple[int, ChatPost]] = []
    for line in numbered_lines(file):
        if isinstance(line, BadRow):
            yield line
            continue
        start = _START.match(line[1])
        post = _POST.match(line[1], start.end()) if start else None
        if start and post:
            groups = [group for group in start.groups() if group]
            posts.append((line[0], ChatPost(post.group(1).strip(), post.group(2), _time(groups))))
        elif posts and not start:  # a further line of the last message
            number, last = posts[-1]
            posts[-1] = number, ChatPost(last.speaker, f"{last.text}\n{line[1]}", last.time)
    cleaned = [ChatPost(post.speaker, _EDITED.sub("", post.text).strip(), post.time) for _, post in posts]
    first_number = posts[0][0] if posts else 1
    for dialogue in split_into_dialogues((post for post in cleaned if not _MEDIA.fullmatch(post.text)), context):
        yield first_number, dialogue


def _time(groups: list[str]) -> datetime | None:
    """Parse a date and a time. Day and month may be swapped if ambiguous: only the gaps between posts matter."""
    numbers = [int(number) for number in re.split(r"[./-]", groups[0])]
    clock = next(group for group in groups[1:] if group[0].isdigit())
    hours, minutes = (int(number) for number in re.split(r"[:.]", clock)[:2])
    if len(groups) > 2:
        hours = hours % 12 + (12 if _AFTERNOON.intersection(groups) else 0)
    day, month, year = numbers if numbers[0] <= 31 else reversed(numbers)
    if month > 12:
        day, month = month, day
    try:
        return datetime(year + 2000 if year < 100 else year, month, day, hours, minutes)
    except ValueError:
        return None
