"""`turnwise scenario`: create, check, test, list and show scenarios."""

from pathlib import Path
from typing import Annotated

import typer

from turnwise.cli.scenario_completion import complete_scenario
from turnwise.cli.scenario_output import print_json, printable
from turnwise.cli.scenario_test import run_tests

# Nothing heavy is imported at module level, so that `--help` is fast.

app = typer.Typer(
    help="Scenarios: instruction, intents, templates, facts, safety lines, knowledge and tests in a folder.",
    no_args_is_help=True,
)


Reference = Annotated[
    str,
    typer.Argument(metavar="SCENARIO", help="Name of a scenario, or its folder.", autocompletion=complete_scenario),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
LanguageOption = Annotated[str | None, typer.Option(help="Language, such as en or zh. Default: the scenario's.")]


@app.command("list")
def list_all(as_json: Json = False) -> None:
    """List the built-in scenarios and those in TURNWISE_HOME/scenarios.

    **Examples**

    ```
    turnwise scenario list
    turnwise scenario list --json
    ```
    """
    from turnwise.app.scenario_folders import list_scenarios
    from turnwise.cli.console_output import one_line
    from turnwise.core.plurals import pluralize

    rows = list_scenarios()
    if as_json:
        print_json(rows)
        return
    for row in rows:
        if "error" in row:
            typer.echo(f"{row['name']:<20} invalid: {one_line(row['error'])}")
            continue
        nouns = {"intents": "intent", "safety": "safety line", "tests": "test"}
        counts = ", ".join(pluralize(row[key], noun) for key, noun in nouns.items())
        typer.echo(
            f"{row['name']:<20} {one_line(row['title']):<22} {'/'.join(row['languages']):<8} {counts}  {row['origin']}"
        )


@app.command()
def show(scenario: Reference, language: LanguageOption = None, as_json: Json = False) -> None:
    """Show a scenario: its system prompt, intents, facts, safety lines and declined topics.

    **Examples**

    ```
    turnwise scenario show customer_service
    turnwise scenario show health_information --language zh
    ```
    """
    from turnwise.app.scenario_folders import describe_scenario, find_scenario

    description = describe_scenario(find_scenario(scenario), language)
    if as_json:
        print_json(description)
        return
    for key, value in description.items():
        if isinstance(value, dict):
            typer.echo(f"{key.replace('_', ' ')}:")
            for name, entry in value.items():
                typer.echo(f"  {name}: {printable(entry)}")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else printable(value)
            typer.echo(f"{key.replace('_', ' ')}: {text}")


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name: lower-case letters, digits, underscores.")],
    folder: Annotated[
        Path | None, typer.Option(help="Folder to create the scenario in. Default: TURNWISE_HOME/scenarios.")
    ] = None,
) -> None:
    """Write a small, complete scenario with comments, to be changed.

    **Examples**

    ```
    turnwise scenario new library
    turnwise scenario new library --folder .
    ```
    """
    from turnwise.core.settings import Settings
    from turnwise.scenarios.new_scenario import create_scenario

    created = create_scenario(folder or Settings.from_environment().home / "scenarios", name)
    reference = name if folder is None else str(created)
    typer.echo(f"{created} is created. Edit its files, then: turnwise scenario check {reference}")


@app.command()
def check(scenario: Reference, as_json: Json = False) -> None:
    """Check a scenario. The exit code is 1 if there is an error.

    Reported are, among others, unreachable templates, slots without a source, missing translations, intents that
    overlap, texts that contradict facts or refusals, and safety phrases that match harmless messages.

    **Examples**

    ```
    turnwise scenario check customer_service
    turnwise scenario check ./library --json
    ```
    """
    from dataclasses import asdict

    from turnwise.app.scenario_checks import check_scenario
    from turnwise.app.scenario_folders import find_scenario
    from turnwise.cli.console_output import one_line
    from turnwise.core.errors import InvalidData
    from turnwise.core.plurals import pluralize
    from turnwise.scenarios.finding import Finding

    try:
        findings = check_scenario(find_scenario(scenario))
    except InvalidData as error:
        findings = [Finding("error", "", "", str(error), "schema")]
    num_errors = sum(finding.severity == "error" for finding in findings)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            message = finding.message if not finding.file else str(finding)
            typer.echo(f"{one_line(message, 1000)} [{finding.check}]")
        num_warnings = len(findings) - num_errors
        typer.echo(f"{pluralize(num_errors, 'error')}, {pluralize(num_warnings, 'warning')}.")
    if num_errors:
        raise typer.Exit(1)


app.command("test")(run_tests)
