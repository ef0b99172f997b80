"""Tables and JSON of `turnwise models versions`, `show`, `history` and `diff`."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer

from turnwise.cli.console_output import one_line

NO_VALUE = "–"
MAX_REASON_CHARS = 60  # in a table
MAX_DIGEST_CHARS = 12


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_versions(versions: Iterable[Mapping[str, Any]]) -> None:
    """Print a table of versions, as `summarize` returns them."""
    rows = [("VERSION", "STATE", "CREATED", "PARENT", "GATE", "PEOPLE", "FIGURES", "LAST REASON")]
    for version in versions:
        parent = version["parent"]
        figures = ", ".join(f"{name} {number:.4g}" for name, number in version["figures"].items())
        rows.append(
            (
                version["version"], format_state(version), short_time(version["created"]),
                NO_VALUE if parent is None else f"@{parent}", _format_gate(version["has_passed_gate"]),
                str(version["contributors"]), one_line(figures) or NO_VALUE,
                one_line(version["reason"], MAX_REASON_CHARS),
            )
        )  # fmt: skip
    print_table(rows)


def print_description(description: Mapping[str, Any]) -> None:
    """Print a version, as `describe_version` returns it."""
    parent, people = description["parent"], description["contributors"]
    rows = [
        ("version", description["version"]),
        ("state", format_state(description)),
        ("created", short_time(description["created"])),
        ("parent", NO_VALUE if parent is None else f"@{parent}"),
        ("gate", _format_gate(description["has_passed_gate"])),
        ("people", str(len(people))),
        ("source", description["source"]),
        ("path", description["path"] or f"not usable: {description['error']}"),
        ("weights", description["weights_sha256"]),
        *((f"data {name}", digest) for name, digest in description["data_sha256"].items()),
        *((name, f"{number:.6g}") for name, number in description["figures"].items()),
    ]
    print_table([(name, one_line(value, 300)) for name, value in rows])
    typer.echo()
    print_history(description["history"])


def print_history(events: Iterable[Mapping[str, Any]]) -> None:
    """Print events, as `describe_event` returns them."""
    rows = [("TIME", "VERSION", "STATE", "BY", "REASON")]
    for event in events:
        state = format_state(event)
        change = state if event["previous"] is None else f"{event['previous']} → {state}"
        rows.append(
            (short_time(event["time"]), f"@{event['version']}", change, event["actor"], one_line(event["reason"]))
        )
    print_table(rows)


def print_differences(first: str, second: str, differences: Mapping[str, Mapping[str, tuple[Any, Any]]]) -> None:
    """Print what differs between two versions, as `compare_versions` returns it."""
    for title, pairs in differences.items():
        if pairs:
            typer.echo(title)
            shorten = _short_digest if title == "data" else _format_value
            print_table([("", first, second), *(("  " + name, *map(shorten, pair)) for name, pair in pairs.items())])
    if not any(differences.values()):
        typer.echo(f"{first} and {second} have the same recipe, data and figures.")


def format_state(version: Mapping[str, Any]) -> str:
    """The state of a version, with the share of a canary."""
    if version["state"] == "canary":
        return f"canary {version['share']:.3g}"
    return "deleted" if version.get("is_erased") else str(version["state"])


def short_time(iso: str) -> str:
    """An ISO 8601 time in UTC, to the minute."""
    return f"{iso[:10]} {iso[11:16]} UTC"


def _format_gate(has_passed: bool | None) -> str:
    return NO_VALUE if has_passed is None else ("passed" if has_passed else "failed")


def _format_value(value: Any) -> str:
    if value is None:
        return NO_VALUE
    return f"{value:.6g}" if isinstance(value, float) else one_line(str(value), 60)


def _short_digest(value: str | None) -> str:
    return NO_VALUE if value is None else value[:MAX_DIGEST_CHARS]
