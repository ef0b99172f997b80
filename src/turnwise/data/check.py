"""Looks a data set over before anything is trained on it: sizes, bad rows, duplicates, leaks, odd dialogues.

One pass, and of every row only a few hashes and lengths are kept, so large files fit in little memory.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappush, heappushpop
from pathlib import Path

from turnwise.core.messages import Conversation, Role
from turnwise.data import fingerprint
from turnwise.data.check_report import SHOWN, DataReport, Finding, LengthStats, Severity, print_report
from turnwise.data.rows import Record
from turnwise.data.sources import DataSource, ReadOptions, RowLocation
from turnwise.data.transcripts import looks_like_chat

__all__ = ["DataReport", "Finding", "LengthStats", "check_data", "print_report"]

CountTokens = Callable[[str], int]
Progress = Callable[[DataSource], None]

ROLE_ORDER: tuple[Role, ...] = ("system", "developer", "user", "assistant", "tool")

_CJK = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_CJK_LETTER = re.compile(f"[{_CJK}]")
# Chinese and Japanese write no spaces: there a character counts as a word.
WORD = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+(?:['’-][^\W{_CJK}]+)*")
_PLACEHOLDER = re.compile(
    r"\{\{[^{}\n]{1,60}\}\}|\[(?i:your|insert|name|company|customer|product|order|date)\b[^\]\n]{0,40}\]|<[A-Z][A-Z_]{2,30}>"
)
_OUTLIER_TIMES_MEDIAN = 20
_OUTLIER_CHARACTERS = 4000

# Kind → severity, what it is, what to do about it; in the order of the report.
_FINDINGS: dict[str, tuple[Severity, str, str]] = {
    "bad rows": (
        "problem",
        "{count:,} rows cannot be read.",
        "Mend them, or leave them out with --skip-bad-rows.",
    ),
    "no assistant turn": (
        "problem",
        "{count:,} dialogues have no reply to learn from.",
        "Check that the roles are right; these dialogues teach a chat model nothing.",
    ),
    "unread columns": (
        "warning",
        "{unread} hold text that nothing reads.",
        "Say what they mean with --columns, such as --columns system=NAME; what is not part of the dialogue may stay.",
    ),
    "text, not dialogues": (
        "note",
        "{count:,} rows are plain text.",
        "Only language modelling (`train --objective clm`) learns from it; fine-tuning needs dialogues.",
    ),
    "looks like a chat": (
        "warning",
        "{count:,} plain texts look like chats whose speakers are not known.",
        "Name the speakers with --role NAME=assistant or --me NAME, or the format with --format.",
    ),
    "leaks": (
        "problem",
        "{count:,} rows also occur in {against}, but for case, punctuation and spaces.",
        "Take them out of the training data, or split again with `turnwise data split`; else scores flatter.",
    ),
    "shared openings": (
        "note",
        "{count:,} further dialogues open with a user turn that {against} has too.",
        "Fine for greetings. For questions, split by topic: `turnwise data split --group-by KEY`.",
    ),
    "exact duplicates": (
        "warning",
        "{count:,} rows say exactly what an earlier one says.",
        "Keep one of each, unless they are meant to weigh more.",
    ),
    "near duplicates": (
        "note",
        "{count:,} rows differ from an earlier one in case, punctuation, spaces or system prompt only.",
        "Harmless in moderation; `turnwise data split` keeps them on the same side.",
    ),
    "no user turn": (
        "warning",
        "{count:,} dialogues have replies but nothing that they reply to.",
        "Check that the roles are right; such rows teach the model to talk unasked.",
    ),
    "ends on a user turn": (
        "note",
        "{count:,} dialogues end on a user turn.",
        "Nothing to do: a last turn without a reply is not learned from.",
    ),
    "placeholders": (
        "warning",
        "{count:,} rows hold placeholders such as {placeholders}.",
        "Fill them in or take them out; the model will say them word for word.",
    ),
    "very long": (
        "note",
        "{count:,} rows have over {outlier:,} characters; the usual is {median:,}.",
        "Look at them; training shortens what exceeds the model's context.",
    ),
}


@dataclass
class _Tally:
    """How often something was met, and where first."""

    count: int = 0
    places: list[str] = field(default_factory=list)

    def add(self, place: str) -> None:
        self.count += 1
        if len(self.places) < SHOWN:
            self.places.append(place)


@dataclass
class _Seen:
    """Where hashes were first met. A place is kept as a number: file and row."""

    files: list[Path] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)

    def first(self, key: int, place: RowLocation) -> str | None:
        """Where `key` was met before; None, and it is remembered, when this is the first time."""
        if key not in self.places:
            if not self.files or self.files[-1] != place.file:
                self.files.append(place.file)
            self.places[key] = (len(self.files) - 1) << 40 | place.number
            return None
        return self.where(key)

    def where(self, key: int) -> str:
        file, number = self.places[key] >> 40, self.places[key] & (1 << 40) - 1
        return f"{self.files[file]}:{number}"


def check_data(
    paths: Sequence[str | Path],
    *,
    against: Sequence[str | Path] = (),
    format: str | None = None,
    options: ReadOptions | None = None,
    count_tokens: CountTokens | None = None,
    progress: Progress | None = None,
) -> DataReport:
    """Look over the files or folders in `paths`.

    Args:
        paths: the data.
        against: data that must not occur in `paths`, such as the test set of a training set.
        format: a format's name for all files; unset: recognised for each.
        options: encoding, columns and speakers of all files.
        count_tokens: counts the tokens of a text; without it, lengths are in characters and words.
        progress: called now and then with the source being read.

    Raises `InvalidData` for a file that is missing or in no known format; bad rows are part of the report.
    """
    looking = _Check(count_tokens)
    for path in against:
        for place, item in DataSource(path, format=format, skip_bad=True, options=options).rows():
            looking.remember_other(item, place)
    for path in paths:
        source = DataSource(path, format=format, skip_bad=True, options=options)
        for number, (place, item) in enumerate(source.rows()):
            looking.look(item, place)
            if progress and number % 256 == 0:
                progress(source)
        for bad in source.bad:
            looking.tallies["bad rows"].add(f"{bad.place}: {bad.reason}. Expected {bad.expected}.")
        looking.tallies["bad rows"].count += source.bad_count - len(source.bad)
        looking.unread += source.unread
    return looking.report([str(path) for path in paths], [str(path) for path in against])


class _Check:
    """Holds the counts while rows stream past."""

    def __init__(self, count_tokens: CountTokens | None) -> None:
        self.count_tokens = count_tokens
        self.tallies: dict[str, _Tally] = {kind: _Tally() for kind in _FINDINGS}
        self.roles: Counter[str] = Counter()
        self.lengths: dict[str, Counter[int]] = {}
        self.placeholders: Counter[str] = Counter()
        self.unread: Counter[str] = Counter()
        self.longest: list[tuple[int, str]] = []
        self.exact, self.near = _Seen(), _Seen()
        self.other, self.other_openings = _Seen(), _Seen()
        self.conversations = self.documents = self.generated = self.usable = self.words = self.cjk = 0

    def remember_other(self, item: Record, place: RowLocation) -> None:
        self.other.first(fingerprint.near_duplicate_key(item), place)
        if isinstance(item, Conversation) and (opening := fingerprint.opening_key(item)) is not None:
            self.other_openings.first(opening, place)

    def look(self, item: Record, place: RowLocation) -> None:
        where = f"{place.file}:{place.number}"
        self._repeats(item, place, where)
        if isinstance(item, Conversation):
            self.conversations += 1
            self.generated += item.is_synthetic
            self._dialogue(item, where)
            texts = [message.full_text for message in item.messages]
        else:
            self.documents += 1
            self.usable += 1
            self.tallies["text, not dialogues"].add(where)
            if looks_like_chat(item.text):
                self.tallies["looks like a chat"].add(where)
            texts = [item.text]
        self._measure(texts, "dialogue" if isinstance(item, Conversation) else "document", where)

    def _repeats(self, item: Record, place: RowLocation, where: str) -> None:
        near = fingerprint.near_duplicate_key(item)
        before = self.exact.first(fingerprint.exact_duplicate_key(item), place)
        before_near = self.near.first(near, place)
        if before:
            self.tallies["exact duplicates"].add(f"{where} repeats {before}")
        elif before_near:
            self.tallies["near duplicates"].add(f"{where} is nearly {before_near}")
        if near in self.other.places:
            self.tallies["leaks"].add(f"{where} is also {self.other.where(near)}")
        elif self.other_openings.places and isinstance(item, Conversation):
            opening = fingerprint.opening_key(item)
            if opening in self.other_openings.places:
                assert opening is not None
                self.tallies["shared openings"].add(f"{where} opens like {self.other_openings.where(opening)}")

    def _dialogue(self, conversation: Conversation, where: str) -> None:
        roles = [message.role for message in conversation.messages]
        self.roles.update(roles)
        self._count("turns per dialogue", conversation.num_turns)
        if "assistant" in roles:
            self.usable += 1
            if "user" not in roles:
                self.tallies["no user turn"].add(where)
            elif roles[-1] == "user":
                self.tallies["ends on a user turn"].add(where)
        else:
            self.tallies["no assistant turn"].add(where)

    def _measure(self, texts: list[str], unit: str, where: str) -> None:
        whole = "\n".join(texts)
        self._count(f"characters per {unit}", len(whole) - len(texts) + 1)
        words = len(WORD.findall(whole))
        self.words += words
        self._count(f"words per {unit}", words)
        if self.count_tokens:
            self._count(f"tokens per {unit}", sum(map(self.count_tokens, texts)))
        if not whole.isascii():
            self.cjk += len(_CJK_LETTER.findall(whole))
        if len(self.longest) < SHOWN:
            heappush(self.longest, (len(whole), where))
        else:
            heappushpop(self.longest, (len(whole), where))
        if found := _PLACEHOLDER.findall(whole):
            self.placeholders.update(found)
            self.tallies["placeholders"].add(where)

    def _count(self, what: str, length: int) -> None:
        self.lengths.setdefault(what, Counter())[length] += 1

    def report(self, files: Sequence[str], against: Sequence[str]) -> DataReport:
        """The counts as a report."""
        outlier, median = self._outliers()
        self.tallies["unread columns"].count = max(self.unread.values(), default=0)
        said = {
            "unread": ", ".join(f"{name} ({count:,} rows)" for name, count in self.unread.most_common(10)),
            "against": ", ".join(against),
            "placeholders": ", ".join(name for name, _ in self.placeholders.most_common(5)),
            "outlier": outlier,
            "median": median,
        }
        findings = [
            Finding(kind, severity, tally.count, message.format(count=tally.count, **said), advice, tuple(tally.places))
            for kind, (severity, message, advice) in _FINDINGS.items()
            if (tally := self.tallies[kind]).count
        ]
        bad = self.tallies["bad rows"].count
        return DataReport(
            files=tuple(files),
            rows=self.conversations + self.documents + bad,
            bad_rows=bad,
            conversations=self.conversations,
            documents=self.documents,
            generated=self.generated,
            messages={role: self.roles[role] for role in ROLE_ORDER if self.roles[role]},
            lengths={name: LengthStats.of(counts) for name, counts in self.lengths.items()},
            cjk_share=round(self.cjk / max(1, self.words), 4),
            findings=tuple(findings),
            usable_rows=self.usable,
        )

    def _outliers(self) -> tuple[int, int]:
        """Notes rows that are far longer than usual; returns the limit and what is usual, in characters."""
        counts = sum((c for name, c in self.lengths.items() if name.startswith("characters")), Counter[int]())
        if not counts:
            return 0, 0
        median = LengthStats.of(counts).median
        limit = max(_OUTLIER_TIMES_MEDIAN * median, _OUTLIER_CHARACTERS)
        tally = self.tallies["very long"]
        tally.count = sum(times for length, times in counts.items() if length > limit)
        tally.places = [
            f"{where}: {length:,}" for length, where in sorted(self.longest, reverse=True) if length > limit
        ]
        return limit, median
