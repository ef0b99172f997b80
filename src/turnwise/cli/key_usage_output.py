"""Tables and JSON of `turnwise keys usage`."""

import json
from collections.abc import Sequence
from dataclasses import asdict, astuple

from turnwise.cli.version_output import print_table
from turnwise.core.key_usage import UsageCounts, UsageDay

_TITLES = ("REQUESTS", "PROMPT TOKENS", "COMPLETION TOKENS", "ERRORS")


def usage_json(counts: Sequence[tuple[UsageDay, UsageCounts]]) -> str:
    """A list with an object for each day and key."""
    rows = [{"day": day.isoformat(), "key": key, **asdict(usage)} for (day, key), usage in counts]
    return json.dumps(rows, indent=2, ensure_ascii=False)


def print_usage(counts: Sequence[tuple[UsageDay, UsageCounts]], *, daily: bool) -> None:
    """Print a table with a row for each key, or for each day and key."""
    if daily:
        rows: list[Sequence[str]] = [("DAY", "KEY", *_TITLES)]
        rows += [(day.isoformat(), key, *_cells(usage)) for (day, key), usage in counts]
    else:
        sums: dict[str, UsageCounts] = {}
        for (_, key), usage in counts:
            sums[key] = sums.get(key, UsageCounts()) + usage
        rows = [("KEY", *_TITLES), *((key, *_cells(usage)) for key, usage in sorted(sums.items()))]
    print_table(rows)


def _cells(usage: UsageCounts) -> list[str]:
    return [f"{number:,}" for number in astuple(usage)]
