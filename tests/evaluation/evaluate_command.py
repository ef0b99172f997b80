"""Runs `turnwise evaluate` in tests."""

import json

import typer
from typer.testing import CliRunner

from turnwise.cli.evaluate import evaluate


def run(*arguments):
    """Run the command; errors are raised."""
    app = typer.Typer()
    app.command()(evaluate)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def scorecard_of(*arguments):
    """Run the command with --json and return the scorecard."""
    return json.loads(run(*arguments, "--json").stdout)


def rows_by_name(scorecard):
    return {row["name"]: row for row in scorecard["rows"]}


def unwrapped(text):
    """The text without the line breaks of the terminal."""
    return " ".join(text.split())
