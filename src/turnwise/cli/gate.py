"""`turnwise gate`: the rules that a candidate has to pass before it replaces the serving model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from turnwise.evaluation.gate.rules_file import GateRules

app = typer.Typer(help="Check whether a new model may replace the serving one, by rules.", no_args_is_help=True)

RulesFile = Annotated[
    Path | None,
    typer.Option(
        "--rules",
        metavar="FILE",
        help="YAML file that changes the default rules. Default: gate.yaml in TURNWISE_HOME, if it exists.",
    ),
]
ModelName = Annotated[
    str | None, typer.Option("--model", help="Served model name, whose changes in the file of rules apply.")
]


@app.command()
def check(
    report: Annotated[
        Path,
        typer.Argument(
            metavar="REPORT", help="Report folder of `turnwise evaluate NEW --against SERVING --out REPORT`."
        ),
    ],
    retention: Annotated[
        Path | None,
        typer.Option(metavar="REPORT", help="Report folder on data that shows what the new model forgot."),
    ] = None,
    cycle: Annotated[
        int,
        typer.Option(
            min=1,
            help="How many candidates were compared on this data since the last promotion, with this one. The more, "
            "the smaller the p-value that an improvement needs.",
        ),
    ] = 1,
    rules: RulesFile = None,
    model: ModelName = None,
    json_out: Annotated[bool, typer.Option("--json", help="Print the decision as JSON.")] = False,
) -> None:
    """Apply the rules to the report of a comparison. The exit code is 1 if the new model is refused.

    **Examples**

    ```
    turnwise evaluate runs/new --against runs/serving --data held_out.jsonl --out report
    turnwise evaluate runs/new --against runs/serving --data general.jsonl --metrics bits_per_byte --out general
    turnwise gate check report --retention general
    turnwise gate check report --retention general --rules strict.yaml --cycle 4 --json
    ```
    """
    from turnwise.cli.console_output import json_line
    from turnwise.evaluation.gate.decision import decide
    from turnwise.evaluation.gate.evidence import HELD_OUT, RETENTION, read_figures

    loaded = _load(rules, model)
    evaluations = {HELD_OUT: read_figures(report)}
    if retention is not None:
        evaluations[RETENTION] = read_figures(retention)
    decision = decide(evaluations, loaded, cycle=cycle)
    if json_out:
        typer.echo(json_line(decision.as_dict()))
    else:
        _print_results([(result.name, result.has_passed, result.sentence) for result in decision.results])
        typer.echo(decision.reason)
    if not decision.has_passed:
        raise typer.Exit(1)


@app.command()
def show(
    rules: RulesFile = None,
    model: ModelName = None,
    json_out: Annotated[bool, typer.Option("--json", help="Print the rules as JSON.")] = False,
) -> None:
    """Print the rules in force, in the format of the file.

    **Examples**

    ```
    turnwise gate show
    turnwise gate show --model support --json
    ```
    """
    import yaml

    from turnwise.cli.console_output import json_line

    values = _load(rules, model).as_dict()
    if json_out:
        typer.echo(json_line(values))
        return
    typer.echo(f"alpha: {values['alpha']:g}\nrules:")
    for name, keys in values["rules"].items():
        flow = yaml.safe_dump(keys, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
        typer.echo(f"  {name}: {flow.strip()}")


def _load(path: Path | None, model: str | None) -> "GateRules":
    """The rules of a file, else of gate.yaml in TURNWISE_HOME, else the defaults."""
    from turnwise.core.settings import Settings
    from turnwise.evaluation.gate.rules_file import load_gate_rules

    default = Settings.from_environment().gate_rules
    return load_gate_rules(path if path is not None else default if default.exists() else None, model)


def _print_results(results: list[tuple[str, bool, str]]) -> None:
    """A line per rule."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("rule", "", "result", box=None, pad_edge=False)
    for name, has_passed, sentence in results:
        mark: Any = Text("passed", "green") if has_passed else Text("failed", "red")
        table.add_row(Text(name), mark, Text(sentence))
    Console(highlight=False).print(table)
