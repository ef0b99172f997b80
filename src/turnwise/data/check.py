"""Checks a data set before training: sizes, bad rows, duplicates, leaks, unusual dialogues.

The check makes one pass and keeps only hashes and lengths of every row, so large files need little memory.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappush, heappushpop
from pathlib import Path

from turnwise.core.messages import Conversation, Role
from turnwise.core.plurals import pluralize
from turnwise.data import fingerprint
from turnwise.data.check_findings import FINDING_TEXTS
from turnwise.data.check_report import MAX_LOCATIONS, MAX_ROWS, DataReport, Finding, LengthStats
from turnwise.data.read_options import ReadOptions
from turnwise.data.rows import Record
from turnwise.data.seen_keys import SeenKeys
from turnwise.data.sources import DataSource, RejectedRow, RowLocation
from turnwise.data.transcripts import looks_like_chat

CountTokens = Callable[[str], int]
Progress = Callable[[DataSource], None]

ROLE_ORDER: tuple[Role, ...] = ("system", "developer", "user", "assistant", "tool")
PROGRESS_ROWS = 256  # rows between two calls of `progress`

_CJK = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_CJK_LETTER = re.compile(f"[{_CJK}]")
# Chinese and Japanese have no spaces between words, so each of their characters counts as a word.
WORD_PATTERN = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+(?:['’-][^\W{_CJK}]+)*")
_PLACEHOLDER = re.compile(
    r"\{\{[^{}\n]{1,60}\}\}|\[(?i:your|insert|name|company|customer|product|order|date)\b[^\]\n]{0,40}\]|<[A-Z][A-Z_]{2,30}>"
)
# A row is very long if it exceeds both limits.
_LONG_MEDIANS = 20
_LONG_CHARACTERS = 4000


def check_data(
    paths: Sequence[str | Path],
    *,
    against: Sequence[str | Path] = (),
    format: str | None = None,
    options: ReadOptions | None = None,
    count_tokens: CountTokens | None = None,
    progress: Progress | None = None,
) -> DataReport:
    """Check the files or folders in `paths`.

    Args:
        paths: the data.
        against: data that must not occur in `paths`, such as the test set of a training set.
        format: format name for all files. Default: detected for each file.
        options: encoding, columns and speakers of all files.
        count_tokens: counts the tokens of a text. Default: lengths are in characters and words only.
        progress: called every 256 rows with the source being read.

    Raises `InvalidData` for a file that is missing or in an unknown format. Bad rows are part of the report.
    """
    checker = DataChecker(count_tokens)
    for path in against:
        for location, item in DataSource(path, format=format, skip_bad_rows=True, options=options).rows():
            checker.add_reference(item, location)
    for path in paths:
        source = DataSource(path, format=format, skip_bad_rows=True, options=options)
        for number, (location, item) in enumerate(source.rows()):
            checker.add(item, location)
            if progress and number % PROGRESS_ROWS == 0:
                progress(source)
        checker.add_bad_rows(source.bad_rows, source.bad_row_count)
        checker.unread_columns += source.unread_columns
    return checker.report([str(path) for path in paths], [str(path) for path in against])


@dataclass
class _Tally:
    """Number of rows with a finding, and the first locations and row numbers."""

    count: int = 0
    locations: list[str] = field(default_factory=list)
    rows: dict[int, None] = field(default_factory=dict)  # in order, without repetition

    def add(self, location: str, *rows: int) -> None:
        self.count += 1
        if len(self.locations) < MAX_LOCATIONS:
            self.locations.append(location)
        if len(self.rows) < MAX_ROWS:
            self.rows.update(dict.fromkeys(rows))


class DataChecker:
    """Collects the statistics of a check row by row.

    Args:
        count_tokens: counts the tokens of a text. Default: tokens are not counted.
    """

    def __init__(self, count_tokens: CountTokens | None = None) -> None:
        self.count_tokens = count_tokens
        self.unread_columns: Counter[str] = Counter()
        self._tallies: dict[str, _Tally] = {kind: _Tally() for kind in FINDING_TEXTS}
        self._roles: Counter[str] = Counter()
        self._lengths: dict[str, Counter[int]] = {}  # name → length → number of rows
        self._placeholders: Counter[str] = Counter()
        self._longest: list[tuple[int, str, int]] = []  # a heap of the longest rows: characters, location, row
        self._exact_keys, self._near_keys = SeenKeys(), SeenKeys()
        self._reference_keys, self._reference_openings = SeenKeys(), SeenKeys()
        self._conversations = self._documents = self._generated = self._usable = self._words = self._cjk_letters = 0

    def add_reference(self, item: Record, location: RowLocation) -> None:
        """Add a row that must not occur in the checked data."""
        self._reference_keys.add(fingerprint.near_duplicate_key(item), location)
        if isinstance(item, Conversation) and (opening := fingerprint.opening_key(item)) is not None:
            self._reference_openings.add(opening, location)

    def add(self, item: Record, location: RowLocation) -> None:
        """Add a row of the checked data."""
        where = f"{location.file}:{location.number}"
        self._check_duplicates(item, location, where)
        if isinstance(item, Conversation):
            self._conversations += 1
            self._generated += item.is_synthetic
            self._check_roles(item, where, location.number)
            texts = [message.full_text for message in item.messages]
        else:
            self._documents += 1
            self._usable += 1
            self._tallies["text, not dialogues"].add(where, location.number)
            if looks_like_chat(item.text):
                self._tallies["looks like a chat"].add(where, location.number)
            texts = [item.text]
        unit = "dialogue" if isinstance(item, Conversation) else "document"
        self._measure(texts, unit, where, location.number)

    def add_bad_rows(self, rows: Sequence[RejectedRow], count: int) -> None:
        """Add `count` rows that could not be read, of which `rows` are recorded."""
        for row in rows:
            self._tallies["bad rows"].add(str(row), row.location.number)
        self._tallies["bad rows"].count += count - len(rows)

    def _check_duplicates(self, item: Record, location: RowLocation, where: str) -> None:
        exact_key, near_key = fingerprint.exact_duplicate_key(item), fingerprint.near_duplicate_key(item)
        exact_match = self._exact_keys.add(exact_key, location)
        near_match = self._near_keys.add(near_key, location)
        if exact_match:
            rows = self._exact_keys.first_row(exact_key), location.number
            self._tallies["exact duplicates"].add(f"{where} repeats {exact_match}", *rows)
        elif near_match:
            rows = self._near_keys.first_row(near_key), location.number
            self._tallies["near duplicates"].add(f"{where} is nearly {near_match}", *rows)
        if near_key in self._reference_keys:
            self._tallies["leaks"].add(
                f"{where} is also {self._reference_keys.first_location(near_key)}", location.number
            )
        elif self._reference_openings and isinstance(item, Conversation):
            opening = fingerprint.opening_key(item)
            if opening is not None and opening in self._reference_openings:
                match = self._reference_openings.first_location(opening)
                self._tallies["shared openings"].add(f"{where} opens like {match}", location.number)

    def _check_roles(self, conversation: Conversation, where: str, row: int) -> None:
        roles = [message.role for message in conversation.messages]
        self._roles.update(roles)
        self._count("turns per dialogue", conversation.num_turns)
        if "assistant" in roles:
            self._usable += 1
            if "user" not in roles:
                self._tallies["no user turn"].add(where, row)
            elif roles[-1] == "user":
                self._tallies["ends on a user turn"].add(where, row)
        else:
            self._tallies["no assistant turn"].add(where, row)

    def _measure(self, texts: list[str], unit: str, where: str, row: int) -> None:
        """Count characters, words and tokens of a row, and look for placeholders."""
        text = "\n".join(texts)
        self._count(f"characters per {unit}", len(text) - len(texts) + 1)
        words = len(WORD_PATTERN.findall(text))
        self._words += words
        self._count(f"words per {unit}", words)
        if self.count_tokens:
            self._count(f"tokens per {unit}", sum(map(self.count_tokens, texts)))
        if not text.isascii():
            self._cjk_letters += len(_CJK_LETTER.findall(text))
        if len(self._longest) < MAX_LOCATIONS:
            heappush(self._longest, (len(text), where, row))
        else:
            heappushpop(self._longest, (len(text), where, row))
        if placeholders := _PLACEHOLDER.findall(text):
            self._placeholders.update(placeholders)
            self._tallies["placeholders"].add(where, row)

    def _count(self, name: str, length: int) -> None:
        self._lengths.setdefault(name, Counter())[length] += 1

    def report(self, files: Sequence[str], against: Sequence[str]) -> DataReport:
        """Return the report. `files` and `against` are the names of the checked and the reference data."""
        outlier, median = self._tally_long_rows()
        self._tallies["unread columns"].count = max(self.unread_columns.values(), default=0)
        fields = {
            "unread": ", ".join(
                f"{name} ({pluralize(count, 'row')})" for name, count in self.unread_columns.most_common(10)
            ),
            "against": ", ".join(against),
            "placeholders": ", ".join(name for name, _ in self._placeholders.most_common(5)),
            "outlier": outlier,
            "median": median,
        }
        findings = []
        for kind, text in FINDING_TEXTS.items():
            if (tally := self._tallies[kind]).count:
                form = text.singular if tally.count == 1 and text.singular else text.message
                message = form.format(count=tally.count, **fields)
                locations, rows = tuple(tally.locations), tuple(tally.rows)
                findings.append(Finding(kind, text.severity, tally.count, message, text.advice, locations, rows))
        bad_rows = self._tallies["bad rows"].count
        return DataReport(
            files=tuple(files),
            rows=self._conversations + self._documents + bad_rows,
            bad_rows=bad_rows,
            conversations=self._conversations,
            documents=self._documents,
            generated=self._generated,
            messages={role: self._roles[role] for role in ROLE_ORDER if self._roles[role]},
            lengths={name: LengthStats.of(counts) for name, counts in self._lengths.items()},
            cjk_share=round(self._cjk_letters / max(1, self._words), 4),
            findings=tuple(findings),
            usable_rows=self._usable,
        )

    def _tally_long_rows(self) -> tuple[int, int]:
        """Tally the very long rows. Returns the limit and the median, in characters."""
        counts = sum((c for name, c in self._lengths.items() if name.startswith("characters")), Counter[int]())
        if not counts:
            return 0, 0
        median = LengthStats.of(counts).median
        limit = max(_LONG_MEDIANS * median, _LONG_CHARACTERS)
        tally = self._tallies["very long"]
        tally.count = sum(number for length, number in counts.items() if length > limit)
        longest_first = [entry for entry in sorted(self._longest, reverse=True) if entry[0] > limit]
        tally.locations = [f"{where}: {length:,}" for length, where, _ in longest_first]
        tally.rows = dict.fromkeys(row for _, _, row in longest_first)
        return limit, median
