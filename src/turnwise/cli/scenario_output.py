"""Output of `turnwise scenario`."""

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from turnwise.app.scenario_tests import PassRate, TestOutcome


def print_failures(outcomes: "list[TestOutcome]") -> None:
    """Print the first failing answer of every test that has one."""
    from turnwise.cli.console_output import one_line

    for outcome in outcomes:
        for answer, errors in zip(outcome.answers, outcome.errors, strict=True):
            if errors:
                typer.echo(f"{outcome.test.id}: {'; '.join(errors)}\n  answer: {one_line(answer.text)}")
                break


def print_rates(rates: "list[PassRate]") -> None:
    """Print one row per decision and k."""
    typer.echo(f"{'decision':<12} {'tests':>5}  pass^k")
    for rate in rates:
        interval = "" if rate.interval is None else f"  [{rate.interval.low:.1%}, {rate.interval.high:.1%}]"
        typer.echo(f"{rate.decision:<12} {rate.num_tests:>5}  pass^{rate.k} {rate.value:.1%}{interval}")


def as_rows(outcomes: "list[TestOutcome]") -> list[dict[str, Any]]:
    """The outcomes as plain values for JSON."""
    return [
        {
            "id": outcome.test.id,
            "decisions": list(outcome.test.decisions),
            "passed": outcome.num_passed,
            "answers": [answer.text for answer in outcome.answers],
            "errors": [list(errors) for errors in outcome.errors],
        }
        for outcome in outcomes
    ]


def printable(value: Any) -> str:
    """A text of a file of others, without characters that a terminal obeys."""
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in str(value))


def print_json(value: Any) -> None:
    """Print a value as JSON in ASCII, so that it has no characters that a terminal obeys."""
    import json

    typer.echo(json.dumps(value, indent=2))
