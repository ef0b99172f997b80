"""What a check of data found: numbers, findings with advice, a verdict; for people and for programs."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

SHOWN = 20  # places listed for a finding; the rest is a number
SHOWN_IN_BRIEF = 5  # on a terminal, except for bad rows, whose reasons differ
Severity = Literal["problem", "warning", "note"]
_COLOURS: dict[Severity, str] = {"problem": "red", "warning": "yellow", "note": "cyan"}


@dataclass(frozen=True, slots=True)
class LengthStats:
    """How a length is distributed."""

    min: int
    median: int
    p90: int
    max: int
    total: int

    @classmethod
    def of(cls, counts: Counter[int]) -> "LengthStats":
        """The spread of lengths given as length → how often."""
        ordered = sorted(counts.items())
        number = counts.total()

        def quantile(share: float) -> int:
            seen = 0
            for length, times in ordered:
                seen += times
                if seen >= share * number:
                    return length
            return ordered[-1][0]

        total = sum(length * times for length, times in ordered)
        return cls(ordered[0][0], quantile(0.5), quantile(0.9), ordered[-1][0], total)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to know about the data: how many rows, where the first of them stand, and what to do about it."""

    kind: str
    severity: Severity
    count: int
    message: str
    advice: str
    places: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DataReport:
    """Everything `turnwise data check` says. `lengths` go by names such as "words per dialogue"; `generated` are the
    conversations that are marked as written by a machine."""

    files: tuple[str, ...]
    rows: int
    bad_rows: int
    conversations: int
    documents: int
    generated: int
    messages: Mapping[str, int]
    lengths: Mapping[str, LengthStats]
    cjk_share: float
    findings: tuple[Finding, ...]
    usable_rows: int

    @property
    def usable(self) -> bool:
        """Whether anything in it can be learned from."""
        return self.usable_rows > 0

    @property
    def language(self) -> str:
        """A rough word on the language, from the share of Chinese, Japanese and Korean letters."""
        if self.cjk_share > 0.6:
            return "Chinese, Japanese or Korean"
        return "mixed" if self.cjk_share > 0.05 else "alphabetic"

    @property
    def verdict(self) -> str:
        """The report in a sentence."""
        if not self.usable:
            return "Not usable: there is no row to learn from."
        what = f"{self.usable_rows:,} of {self.rows:,} rows can be learned from"
        if not self.conversations:
            what = f"{self.documents:,} texts, for language modelling only (`train --objective clm`)"
        serious = [finding for finding in self.findings if finding.severity != "note"]
        if not serious:
            return f"Usable: {what}, and nothing stands in the way."
        kinds = ", ".join(finding.kind for finding in serious)
        return f"Usable with care: {what}; look at {kinds}."

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON wants it."""
        plain = dataclasses.asdict(self)
        return {**plain, "language": self.language, "usable": self.usable, "verdict": self.verdict}

    def render(self) -> RenderableType:
        """The report for a terminal: `rich.print(report.render())`."""
        parts: list[RenderableType] = [self._numbers(), ""]
        for finding in self.findings:
            parts += _lines(finding)
        style = "bold green" if self.usable else "bold red"
        return Group(*parts, Text(self.verdict, style=style))

    def _numbers(self) -> Table:
        table = Table(title=escape(", ".join(self.files)), title_justify="left", title_style="bold", box=None)
        table.add_column("")
        for name in ("total", "min", "median", "90 %", "max"):
            table.add_column(name, justify="right")
        counts = {"rows": self.rows, "bad rows": self.bad_rows, "conversations": self.conversations}
        counts |= {"of these generated": self.generated} if self.generated else {}
        counts |= {"documents": self.documents} | {f"{role} messages": count for role, count in self.messages.items()}
        for name, count in counts.items():
            table.add_row(name, f"{count:,}")
        for name, spread in self.lengths.items():
            values = (spread.total, spread.min, spread.median, spread.p90, spread.max)
            table.add_row(name, *(f"{value:,}" for value in values))
        table.add_row("language", self.language)
        return table


def _lines(finding: Finding) -> Iterator[RenderableType]:
    colour = _COLOURS[finding.severity]
    yield Text.from_markup(f"[{colour}]●[/] [bold]{finding.kind}[/]: {escape(finding.message)}")
    shown = finding.places if finding.kind == "bad rows" else finding.places[:SHOWN_IN_BRIEF]
    more = [f"… and {finding.count - len(shown):,} more"] if finding.count > len(shown) > 0 else []
    for place in (*shown, *more):
        yield Padding(Text(place, style="dim"), (0, 0, 0, 4))
    yield Padding(Text(f"→ {finding.advice}"), (0, 0, 1, 2))


def print_report(report: DataReport, console: Console | None = None) -> None:
    """Print the report to the terminal."""
    (console or Console()).print(report.render())
