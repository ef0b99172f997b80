"""`turnwise prompt`: the prompt library."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnwise.cli.data_flags import data_source_flags
from turnwise.cli.shared_flags import InteractionFormatName, PromptVariable, Threads, sampling_flags

if TYPE_CHECKING:
    from turnwise.data.read_options import ReadOptions

# Nothing else is imported at module level, so that `--help` is fast.

app = typer.Typer(
    help="Write, list and compare system prompts. A prompt is a file `prompts/NAME.yaml` in the working directory or "
    "in TURNWISE_HOME, with numbered versions and variables. Commands use it with `--prompt-template NAME@VERSION`.",
    no_args_is_help=True,
)


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the prompt.")],
    text: Annotated[str | None, typer.Option(help="Text of the prompt; {{ NAME }} is a variable.")] = None,
    file: Annotated[Path | None, typer.Option(help="File with the text; '-' reads standard input.")] = None,
    variable: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[=DEFAULT]", help="Variable of the text, and its default. Repeatable."),
    ] = None,
    note: Annotated[str, typer.Option(help="What this version changes.")] = "",
    description: Annotated[str, typer.Option(help="What the prompt is for.")] = "",
) -> None:
    """Write a prompt, or the next version of an existing one. Versions never change.

    **Examples**

    ```
    turnwise prompt new support --text "You answer questions about {{ shop }}." --variable "shop=a bicycle shop"
    turnwise prompt new support --file support.txt --note "shorter answers"
    ```
    """
    import sys

    from turnwise.app.prompts.library import PromptLibrary
    from turnwise.app.prompts.prompt_file import PromptVersion
    from turnwise.core.errors import InvalidParameter
    from turnwise.core.strict_model import parse_strict_model

    if (text is None) == (file is None):
        raise InvalidParameter("text", "Set the prompt with either --text or --file.")
    if file is not None:
        try:
            text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidParameter("file", f"{file} is not a readable UTF-8 text: {error}.") from error
    variables = {}
    for assignment in variable or ():
        key, separator, default = assignment.partition("=")
        variables[key] = default if separator else None
    values = {"text": text, "variables": variables, "note": note}
    version = parse_strict_model(PromptVersion, values, origin="The prompt")
    prompt = PromptLibrary.default().add(name, version, description)
    typer.echo(f"{prompt.reference} ({version.content_hash})")


@app.command("list")
def list_prompts() -> None:
    """List the prompts with their versions.

    **Example**

    ```
    turnwise prompt list
    ```
    """
    from turnwise.app.prompts.library import PromptLibrary
    from turnwise.cli.console_output import one_line

    library = PromptLibrary.default()
    for name, prompts in library.all():
        typer.echo(f"{name}  {one_line(prompts.description)}".rstrip())
        for number, version in sorted(prompts.versions.items()):
            typer.echo(f"  @{number}  {version.content_hash}  {one_line(version.note or version.text, 80)}")
    if not library.paths():
        typer.echo("There are no prompts. Write one: turnwise prompt new NAME --text TEXT", err=True)


@app.command()
def show(
    reference: Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="Default: the latest version.")],
    prompt_variable: PromptVariable = None,
    source: Annotated[bool, typer.Option("--source", help="Show the template instead of the filled-in text.")] = False,
) -> None:
    """Print the text of a prompt with its variables filled in.

    **Examples**

    ```
    turnwise prompt show support
    turnwise prompt show support@1 --prompt-variable "shop=a bakery"
    turnwise prompt show support@1 --source
    ```
    """
    from turnwise.app.prompts.library import PromptLibrary, parse_variables

    prompt = PromptLibrary.default().load(reference)
    typer.echo(prompt.version.text if source else prompt.render(parse_variables(prompt_variable or ())))


@app.command("test")
@sampling_flags
@data_source_flags
def compare(
    references: Annotated[
        list[str], typer.Argument(metavar="NAME@VERSION…", help="Variants; all others are compared with the first one.")
    ],
    model: Annotated[str | None, typer.Option(help="Model name or folder. Default: the default model.")] = None,
    data: Annotated[Path | None, typer.Option(help="Held-out dialogues: a file or folder.")] = None,
    golden: Annotated[Path | None, typer.Option(help="Golden cases: a YAML file or folder.")] = None,
    metrics: Annotated[
        str | None,
        typer.Option(help="Metrics, separated by commas. Default: golden with --golden, else chrf, rouge_l, success."),
    ] = None,
    limit: Annotated[int, typer.Option(help="Maximum number of dialogues.", min=1)] = 200,
    repeats: Annotated[int, typer.Option(help="Number of answers to sample per dialogue.", min=1)] = 1,
    interaction_format: InteractionFormatName = None,
    prompt_variable: PromptVariable = None,
    threads: Threads = None,
    json_out: Annotated[bool, typer.Option("--json", help="Print the scorecards as JSON.")] = False,
    *,
    sampling: dict[str, Any],
    data_options: "ReadOptions",
) -> None:
    """Compare variants of a prompt on dialogues or golden cases.

    Every variant answers the same questions. Differences are tested as in `turnwise evaluate --against`, with Holm's
    correction over all variants and metrics; where none is significant, the result is "no difference".

    **Examples**

    ```
    turnwise prompt test support@1 support@2 --data test.jsonl
    turnwise prompt test support@1 support@2 support@3 --golden cases.yaml --temperature 0
    ```
    """
    import json

    from rich.console import Console

    from turnwise.app.evaluation_data import load_evaluation_data
    from turnwise.app.prompts.comparison import PromptComparison, compare_prompts, sentences
    from turnwise.app.prompts.library import PromptLibrary, parse_variables
    from turnwise.app.systems_under_test import check_system_exists
    from turnwise.cli.evaluate_checks import require_data, select_metrics
    from turnwise.cli.progress_bars import evaluation_progress
    from turnwise.cli.scorecard_table import print_scorecard
    from turnwise.core.errors import InvalidParameter

    library, values = PromptLibrary.default(), parse_variables(prompt_variable or ())
    loaded = [library.load(reference) for reference in references]
    # A variable of one variant may be missing in another one.
    names = {name for prompt in loaded for name in prompt.version.variables}
    if unknown := sorted(set(values) - names):
        raise InvalidParameter("prompt_variable", f"None of the prompts has a variable '{unknown[0]}'.")
    prompts = {
        prompt.reference: prompt.render({k: v for k, v in values.items() if k in prompt.version.variables})
        for prompt in loaded
    }
    if len(prompts) < 2:
        raise InvalidParameter("references", "A comparison needs at least two different variants: NAME@1 NAME@2.")
    if data is None and golden is None:
        raise InvalidParameter("data", "A comparison needs --data FILE or --golden FILE.")
    default_metrics = "golden" if data is None else "chrf,rouge_l,success"
    chosen = select_metrics(metrics or default_metrics, golden)
    require_data(data, chosen, temperature_sweep=False)
    check_system_exists(model)
    dialogues = () if data is None else load_evaluation_data(
        data, limit, [model], data_options, skip_bad_rows=False, format=interaction_format
    ).dialogues  # fmt: skip
    comparison = PromptComparison(
        model=model,
        prompts=prompts,
        dialogues=dialogues,
        metrics=chosen,
        sampling=sampling,
        repeats=repeats,
        threads=threads,
        serving={"format": interaction_format},
    )
    with evaluation_progress(Console(stderr=True)) as on_progress:
        cards = compare_prompts(comparison, on_progress=on_progress)
    if json_out:
        typer.echo(json.dumps({name: card.as_dict() for name, card in cards.items()}, indent=2, ensure_ascii=False))
        return
    first, console = next(iter(prompts)), Console()
    for sentence, card in zip(sentences(cards, first), cards.values(), strict=True):
        console.print(sentence, markup=False, highlight=False)
        print_scorecard(card, console)
