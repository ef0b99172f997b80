"""Flags of a command that are the fields of dataclasses."""

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from turnwise.cli.shared_flags import option_groups


@dataclass(frozen=True)
class Address:
    host: Annotated[str, typer.Option()] = "localhost"
    port: Annotated[int, typer.Option(min=0)] = 80
    names: Annotated[list[str] | None, typer.Option("--name")] = None


@dataclass(frozen=True)
class Options:
    address: Address
    is_quiet: Annotated[bool, typer.Option("--quiet")] = False


@pytest.fixture
def run():
    """Runs a command with the flags of `Options`; returns what it received, or its error."""
    received = []

    @option_groups
    def command(*, options: Options, last: Annotated[int, typer.Option()] = 1):
        received.append((options, last))

    app = typer.Typer()
    app.command()(command)

    def run(*arguments):
        result = CliRunner().invoke(app, arguments)
        return received.pop() if result.exit_code == 0 and received else result.output

    return run


def test_flags_that_are_not_used_have_the_defaults_of_their_fields(run):
    assert run() == (Options(Address()), 1)


def test_values_are_in_the_group_of_their_field(run):
    used = run("--port", "0", "--name", "a", "--name", "b", "--quiet", "--last", "2")
    assert used == (Options(Address(port=0, names=["a", "b"]), is_quiet=True), 2)


def test_an_invalid_value_names_the_flag(run):
    assert "--port" in run("--port", "-1")


def test_flags_are_in_the_place_of_their_group(run):
    text = run("--help")
    positions = [text.index(flag) for flag in ("--host", "--port", "--name", "--quiet", "--last")]
    assert positions == sorted(positions)
