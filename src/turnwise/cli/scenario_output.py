"""Output of `turnwise scenario`."""

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from turnwise.app.scenario_tests import PassRate, TestOutcome


def print_failures(outcomes: "Sequence[TestOutcome]") -> None:
    """Print the first failing answer of every test that has one."""
    from turnwise.cli.console_output import one_line

    for outcome in outcomes:
        for answer, errors in zip(outcome.answers, outcome.errors, strict=True):
            if errors:
                path = ", ".join(answer.steps)
                typer.echo(
                    f"{outcome.test.id}: {'; '.join(errors)}\n  answer: {one_line(answer.text)}\n  steps: {path}"
                )
                break


def print_rates(outcomes: "Mapping[str, Sequence[TestOutcome]]", trials: int) -> None:
    """Print pass^k of every scenario by language and by expected decision."""
    from turnwise.app.scenario_tests import ALL, language_rates, pass_rates

    width = max(len("scenario"), *map(len, outcomes))
    typer.echo(f"{'scenario':<{width}}  {'':<10} {'tests':>5}  pass^k")
    for name, results in outcomes.items():
        decisions = [rate for rate in pass_rates(results, trials) if rate.label != ALL]
        rates = [*language_rates(results, trials), *decisions]
        for label in dict.fromkeys(rate.label for rate in rates):
            values = [rate for rate in rates if rate.label == label]
            cells = "  ".join(f"pass^{rate.k} {rate.value:6.1%}{_interval(rate)}" for rate in values)
            typer.echo(f"{name:<{width}}  {label:<10} {values[0].num_tests:>5}  {cells}")


def _interval(rate: "PassRate") -> str:
    return "" if rate.interval is None else f" [{rate.interval.low:.1%}, {rate.interval.high:.1%}]"


def print_decisions(outcomes: "Sequence[TestOutcome]") -> None:
    """Print which decision was taken how often, in a row for each expected one."""
    from turnwise.app.scenario_tests import count_decisions

    counts = count_decisions(outcomes)
    expected, taken = (sorted({pair[side] for pair in counts}) for side in (0, 1))
    typer.echo(f"\n{'expected':<10}  {'answers by the decision that was taken'}")
    typer.echo(" " * 10 + "".join(f"  {kind:>10}" for kind in taken))
    for row in expected:
        cells = (str(counts[row, column]) if counts[row, column] else "." for column in taken)
        typer.echo(f"{row:<10}" + "".join(f"  {cell:>10}" for cell in cells))


def outcome_rows(outcomes: "Sequence[TestOutcome]", trials: int) -> dict[str, Any]:
    """Rates, counted decisions and outcomes of a scenario as plain values for JSON."""
    from turnwise.app.scenario_tests import count_decisions, language_rates, pass_rates

    return {
        "trials": trials,
        "languages": [rate.as_dict() for rate in language_rates(outcomes, trials)],
        "expected_decisions": [rate.as_dict() for rate in pass_rates(outcomes, trials)],
        "decisions": [
            {"expected": expected, "taken": taken, "answers": count}
            for (expected, taken), count in sorted(count_decisions(outcomes).items())
        ],
        "tests": [
            {
                "id": outcome.test.id,
                "language": outcome.test.language,
                "decisions": list(outcome.test.decisions),
                "passed": outcome.num_passed,
                "answers": [
                    {"text": answer.text, "decision": answer.decision, "steps": list(answer.steps), "errors": errors}
                    for answer, errors in zip(outcome.answers, outcome.errors, strict=True)
                ],
            }
            for outcome in outcomes
        ],
    }


def printable(value: Any) -> str:
    """A text of a file of others, without characters that a terminal obeys."""
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in str(value))


def print_json(value: Any) -> None:
    """Print a value as JSON in ASCII, so that it has no characters that a terminal obeys."""
    import json

    typer.echo(json.dumps(value, indent=2))
