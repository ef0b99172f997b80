"""The `turnwise` command. Every subcommand is a module of this package and imports heavy packages when it runs."""

import sys

import typer

from turnwise import __version__
from turnwise.cli import (
    calibrate,
    chat,
    classify,
    data,
    evaluate,
    export,
    feedback,
    gate,
    improve,
    keys,
    knowledge,
    merge,
    models,
    monitor,
    privacy,
    prompt,
    review,
    scenario,
    scenario_tune,
    serve,
    tokenizer,
    train,
)
from turnwise.core.errors import TurnwiseError

app = typer.Typer(
    name="turnwise",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Train, evaluate and serve small chat models on your own machine.",
    epilog="Start with `turnwise chat`, or with `turnwise serve` and a browser.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_set: bool) -> None:
    if is_set:
        typer.echo(f"turnwise {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    pass


app.command("chat")(chat.chat)
app.command("serve")(serve.serve)
app.command("train")(train.train)
app.command("merge")(merge.merge)
app.command("classify")(classify.classify)
app.command("tag")(classify.tag)
app.command("calibrate")(calibrate.calibrate)
app.command("export")(export.export)
app.command("quantize")(export.quantize)
app.command("convert")(export.convert)
app.command("evaluate")(evaluate.evaluate)
app.command("review")(review.review)
app.command("index", help="Add documents to a knowledge base: `turnwise knowledge add`.")(knowledge.add)
app.add_typer(data.app, name="data")
app.add_typer(feedback.app, name="feedback")
app.add_typer(gate.app, name="gate")
app.add_typer(improve.app, name="improve")
app.add_typer(keys.app, name="keys")
app.add_typer(knowledge.app, name="knowledge")
app.add_typer(models.app, name="models")
app.add_typer(monitor.app, name="monitor")
app.add_typer(privacy.app, name="privacy")
app.add_typer(prompt.app, name="prompt")
scenario.app.command("tune")(scenario_tune.tune)
app.add_typer(scenario.app, name="scenario")
app.add_typer(tokenizer.app, name="tokenizer")


def main() -> None:
    """Run the command. A `TurnwiseError` becomes one line on standard error and its exit code."""
    try:
        app()
    except TurnwiseError as error:
        typer.secho(f"Error: {error}", err=True, fg=typer.colors.RED)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has exited
        sys.stderr.close()
        sys.exit(1)
