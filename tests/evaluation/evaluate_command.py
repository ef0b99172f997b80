"""`turnwise evaluate`, and what it says."""

import json

import typer
from typer.testing import CliRunner

from turnwise.cli.evaluate import evaluate


def run(*words):
    app = typer.Typer()
    app.command()(evaluate)
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def card(*words):
    return json.loads(run(*words, "--json").stdout)


def by_name(found):
    return {line["name"]: line for line in found["rows"]}


def told(text):
    """What was said, however wide the terminal is."""
    return " ".join(text.split())
