"""`turnwise improve`: train on rated and corrected answers, prove that the result is better, and promote it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnwise.cli.shared_flags import Store

if TYPE_CHECKING:
    from turnwise.improve.cycle import ImproveCycle
    from turnwise.improve.journal import Journal

# Nothing else is imported at module level, so that `--help` is fast.

app = typer.Typer(invoke_without_command=True)

Model = Annotated[str | None, typer.Option("--model", help="Served model. Default: the default model.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def improve(
    context: typer.Context,
    model: Model = None,
    once: Annotated[bool, typer.Option("--once", help="Run one cycle. This is the default.")] = False,
    every: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Run a cycle at intervals, such as 24h, until Ctrl-C.")
    ] = None,
    after: Annotated[
        int | None,
        typer.Option(min=1, help="Run a cycle after so many new answers with feedback, until Ctrl-C."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what a cycle would learn from, and change nothing.")
    ] = False,
    canary: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="A better version first answers this share of conversations, such as 10%."),
    ] = None,
    settings: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="YAML file of settings. Default: improve.yaml in TURNWISE_HOME, if it exists."
        ),
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="YAML file of rules. Default: gate.yaml in TURNWISE_HOME, if it exists."),
    ] = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Improve a model with the feedback of its users.

    A cycle selects rated and corrected answers, drops bad ones, masks personal data, trains a version, compares it with
    the serving one, and promotes it if it passes the rules of `turnwise gate show`. A cycle that was interrupted
    continues where it was. A running server serves the new version within a second.

    **Examples**

    ```
    turnwise improve --once
    turnwise improve --dry-run
    turnwise improve --every 24h --canary 10%
    turnwise improve --after 200
    turnwise improve status
    ```
    """
    from turnwise.core.errors import InvalidParameter

    if (command := context.invoked_subcommand) is not None:
        for name in (name for name, value in context.params.items() if value not in (None, False)):
            flag = {"as_json": "--json"}.get(name, f"--{name.replace('_', '-')}")
            raise InvalidParameter(name, f"{flag} before '{command}' has no effect: write it after '{command}'.")
        return
    from rich.console import Console

    from turnwise.core import own_session
    from turnwise.improve.schedule import Schedule, parse_duration

    if (once or dry_run) and (every or after):
        flag = "--once runs" if once else "--dry-run shows"
        raise InvalidParameter("every", f"{flag} one cycle: leave out --every and --after.")
    schedule = Schedule(None if every is None else parse_duration(every), after)
    if not dry_run and _is_own_process() and own_session.is_useful():
        raise typer.Exit(own_session.run([sys.executable, "-m", "turnwise", *sys.argv[1:]]))
    own_session.end_with_parent()
    console = Console(stderr=True)
    with _open_cycle(model, settings, rules, canary, store, console) as cycle:
        if dry_run:
            _print_dry_run(cycle, as_json=as_json)
        elif every is None and after is None:
            _print_outcome(cycle, cycle.run(), as_json=as_json)
        else:
            _run_scheduled(cycle, schedule, as_json=as_json)


def _is_own_process() -> bool:
    """True if this process runs the command `turnwise`, and not another program that calls it.

    A caller may also have set another output, which the output of another process would not reach.
    """
    program, has_own_output = Path(sys.argv[0]), sys.stdout is sys.__stdout__ and sys.stderr is sys.__stderr__
    is_command = program.name == "turnwise" or (program.name == "__main__.py" and program.parent.name == "turnwise")
    return is_command and has_own_output


@app.command()
def status(model: Model = None, as_json: Json = False) -> None:
    """List the cycles of a model: what they learned from, and why their versions were promoted or refused.

    **Example**

    ```
    turnwise improve status
    ```
    """
    import json

    from rich.console import Console
    from rich.table import Table

    from turnwise.improve.cycle_folder import CycleFolders

    journals = list(CycleFolders(_served_name(model)).journals())
    if as_json:
        typer.echo(json.dumps([journal.as_dict() for journal in journals], ensure_ascii=False))
        return
    if not journals:
        typer.echo("There was no cycle yet. Rate or correct answers, then run: turnwise improve --once")
        return
    table = Table("cycle", "started", "answers", "examples", "version", "outcome", "reason")
    for journal in journals:
        table.add_row(*_status_row(journal))
    Console().print(table)


def _status_row(journal: "Journal") -> list[str]:
    from datetime import datetime

    selection = journal.result("select") or {}
    started = datetime.fromtimestamp(journal["started"]).strftime("%Y-%m-%d %H:%M")
    outcome = journal.get("outcome") or f"interrupted after {(journal.steps or ['the start'])[-1]}"
    return [
        str(journal["number"]), started, str(selection.get("num_answers", "")), str(selection.get("num_examples", "")),
        str(journal.get("version") or ""), outcome, journal.get("reason") or "",
    ]  # fmt: skip


@contextmanager
def _open_cycle(
    model: str | None, settings: Path | None, rules: Path | None, canary: str | None, store: str | None, console: Any
) -> "Iterator[ImproveCycle]":
    from turnwise.core import own_session
    from turnwise.core.settings import Settings
    from turnwise.improve.settings import load_settings

    environment = Settings.from_environment()
    improve_settings = load_settings(settings or _existing(environment.improve_settings))
    own_session.raise_niceness(improve_settings.limits.niceness)  # the imports below take seconds of a processor

    from turnwise.app.model_versions.version_library import open_version_library
    from turnwise.app.stores import open_conversation_store
    from turnwise.cli.improve_progress import ConsoleProgress
    from turnwise.core.errors import InvalidParameter
    from turnwise.evaluation.gate.rules_file import load_gate_rules
    from turnwise.improve.open_cycle import open_cycle

    if canary is not None:
        improve_settings = improve_settings.model_copy(update={"canary_share": _parse_share(canary)})
    name = _served_name(model)
    with open_version_library() as library, open_conversation_store(store) as conversations:
        if conversations is None:
            raise InvalidParameter("store", "Feedback is read from the store of conversations: name one with --store.")
        gate_rules = load_gate_rules(rules or _existing(environment.gate_rules), name)
        with (
            ConsoleProgress(console) as progress,
            open_cycle(name, library, conversations.collected_answers, gate_rules, improve_settings, progress) as cycle,
        ):
            yield cycle


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None


def _served_name(model: str | None) -> str:
    from turnwise.app.default_model import default_model_name
    from turnwise.app.model_versions.version_library import served_model_name

    return served_model_name(default_model_name() if model is None else model)


def _parse_share(text: str) -> float:
    """A share such as "10%" or "0.1". Raises `InvalidParameter`."""
    from turnwise.core.errors import InvalidParameter

    number = text.strip()
    try:
        share = float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise InvalidParameter("canary", f"'{text}' is not a share: write a number such as 10%.")
    return share


def _run_scheduled(cycle: "ImproveCycle", schedule: Any, *, as_json: bool) -> None:
    """Run cycles until Ctrl-C. A cycle that fails or reaches its time limit is reported; the next one continues it."""
    from turnwise.core.errors import TurnwiseError
    from turnwise.improve.schedule import run_scheduled
    from turnwise.training.stop_signals import TrainingInterrupted

    typer.echo(f"Waiting for feedback on {cycle.model}. Ctrl-C stops.", err=True)

    def run() -> None:
        try:
            _print_outcome(cycle, cycle.run(), as_json=as_json)
        except TrainingInterrupted:
            if cycle.stop():  # a signal, not the time limit
                raise
            typer.echo("The time limit of the cycle is reached. The next one continues it.", err=True)
        except TurnwiseError as error:
            typer.secho(f"The cycle stopped: {error} The next one continues it.", err=True, fg=typer.colors.RED)

    run_scheduled(
        schedule, run, lambda since: cycle.reader.count(cycle.model, since=since),
        cycle.last_start(), stop=cycle.stop,
    )  # fmt: skip


def _print_dry_run(cycle: "ImproveCycle", *, as_json: bool) -> None:
    import json

    plan = cycle.dry_run()
    if as_json:
        typer.echo(json.dumps(plan, ensure_ascii=False))
        return
    typer.echo(
        f"Answers of {cycle.model} with feedback: {plan['num_answers']}, new since the last cycle: {plan['num_new']}."
    )
    for title, counts in (("Dropped", plan["dropped"]), ("Masked values", plan["masked"])):
        if counts:
            typer.echo(f"{title}: {', '.join(f'{count} {name}' for name, count in counts.items())}.")
    if plan["obstacle"] is None:
        for stage, count in plan["stages"].items():
            typer.echo(f"Would train on {count} {stage}.")
    if plan["obstacle"] is not None:
        typer.echo(f"Would train nothing: {plan['obstacle']}")
    typer.echo("Nothing was changed.")


def _print_outcome(cycle: "ImproveCycle", journal: "Journal", *, as_json: bool) -> None:
    import json

    if as_json:
        typer.echo(json.dumps(journal.as_dict(), ensure_ascii=False))
        return
    compared = journal.result("compare")
    for name, row in (compared or {}).get("figures", {}).items():
        typer.echo(
            f"{row['label']}: {row['base_value']:.4g} → {row['value']:.4g} ({name}, {row['num_dialogues']} dialogues)"
        )
    typer.echo(journal["reason"])
    if compared is not None:
        typer.echo(f"The report is {journal.folder / 'report' / 'report.html'}.")
    if journal.get("outcome") == "promoted":
        typer.echo(f"{cycle.model}@{journal['version']} answers now. Back: turnwise models rollback {cycle.model}")
