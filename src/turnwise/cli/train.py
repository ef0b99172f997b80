"""`turnwise train`: fine-tune or pre-train, from flags or from a recipe."""

import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from turnwise.cli.data_flags import data_source_flags, recipe_keys
from turnwise.cli.recipe_flags import RecipeFlags
from turnwise.core.plurals import pluralize

Preset = Literal["quick", "normal", "thorough"]
# torchrun, which a signal ends with its exit code instead of a traceback.
LAUNCHER = """
import sys
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.run import main
try:
    main(sys.argv[1:])
except SignalException as error:
    sys.exit(128 + error.sigval)
"""

if TYPE_CHECKING:
    from turnwise.data.read_options import ReadOptions
    from turnwise.training.examples.dataset import DatasetSplits
    from turnwise.training.hooks import ReplySample, TrainingResult
    from turnwise.training.launch.preflight import PreflightReport
    from turnwise.training.recipe import Recipe


@data_source_flags
def train(
    data: Annotated[Path, typer.Argument(help="File or folder of dialogues, or a recipe (.yaml).")],
    source: Annotated[
        str | None,
        typer.Option("--from", help="Model to start from: a folder, or 'box' (the bundled model, the default)."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the trained model.")] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            help="Training objective: sft (replies, the default), clm (every token), dpo (pairs), kto (ratings), "
            "seq2seq, span or mlm. Options follow the name: dpo:beta=0.2."
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="Which weights are trained: full (all, the default), partial (some layers), lora, soft (prompt "
            "tuning) or prompt (none). Options follow the name: partial:last=2, lora:rank=8,dora=true."
        ),
    ] = None,
    valid: Annotated[Path | None, typer.Option(help="Validation dialogues. Default: a tenth of DATA.")] = None,
    test: Annotated[Path | None, typer.Option(help="Test dialogues, measured before and after training.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Number of passes over the data.")] = None,
    steps: Annotated[int | None, typer.Option(help="Number of optimizer steps, instead of --epochs.")] = None,
    rate: Annotated[float | None, typer.Option("--learning-rate", help="Peak learning rate.")] = None,
    row_length: Annotated[
        int | None,
        typer.Option(
            help="Maximum sequence length in tokens. Default: as long as the dialogues, up to the model's context."
        ),
    ] = None,
    rows: Annotated[int | None, typer.Option(help="Batch size: sequences per optimizer step.")] = None,
    micro_rows: Annotated[
        int | None,
        typer.Option(help="Micro-batch size: sequences computed at a time. Smaller values take less memory.", min=1),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed for the order of the data.")] = None,
    rehearse: Annotated[
        float | None,
        typer.Option(
            help="Share of the training tokens that replay the model's own answers to other prompts, so that it "
            "forgets less. Try 0.5.",
            min=0,
            max=0.9,
        ),
    ] = None,
    effort: Annotated[
        Preset | None,
        typer.Option(
            help="Choose steps, batch size, learning rate and patience from the data: quick, normal or thorough."
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            help="Time budget in minutes, report included; chooses the settings that --effort chooses.", min=0.01
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(help="Hyperparameter search with this many trials; keeps the best model.", min=1),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Number of training processes on this machine. For several machines, use torchrun.", min=1),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(help="Train with --workers on a Ray cluster: its address, auto, or local to start one."),
    ] = None,
    shard: Annotated[
        bool, typer.Option("--shard", help="Shard parameters, gradients and optimizer state across workers (FSDP2).")
    ] = False,
    report: Annotated[
        Literal["quick", "full", "none"],
        typer.Option(help="Evaluate before and after: quick (50 dialogues), full (500, all metrics) or none."),
    ] = "quick",
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option(help="Type of the saved weights; auto: the type of the base model."),
    ] = "auto",
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show the data, the expected time and the memory, and stop before training."),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT when the new model is complete.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Discard an unfinished run.")] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Skip bad rows instead of stopping at the first one.")
    ] = False,
    *,
    data_options: "ReadOptions",
) -> None:
    """Train a model on dialogues; keeps the weights with the lowest validation loss.

    A checkpoint is written about every minute, and when Ctrl-C, SIGTERM or a closed terminal ends the run. The same
    command continues from it.

    **Examples**

    ```
    turnwise train examples/bike_shop.jsonl --out runs/bikes
    turnwise train examples/bike_shop.jsonl --out runs/bikes --rehearse 0.5
    turnwise train talks.jsonl --from runs/bikes --out runs/more --epochs 2 --method lora:rank=8
    turnwise train pairs.jsonl --from runs/bikes --out runs/better --objective dpo:beta=0.2
    turnwise train talks.jsonl --out runs/quick --minutes 10
    turnwise train talks.jsonl --out runs/best --trials 20
    turnwise train recipe.yaml --dry-run
    ```
    """
    _check_arguments(data, source, out)  # before torch is loaded, which takes a while

    from rich.console import Console

    from turnwise.cli.before_after_report import report_before_after
    from turnwise.cli.progress_bars import progress_bar
    from turnwise.core.errors import InvalidParameter
    from turnwise.training.examples.recipe_sources import with_splits
    from turnwise.training.launch.run_recipe import DryRunComplete, run_recipe
    from turnwise.training.loggers import ProgressBarHook

    if workers is not None and workers > 1 and ray is None:
        raise typer.Exit(_launch(workers))
    began = time.monotonic()
    console = Console(stderr=True, highlight=False, quiet=os.environ.get("RANK", "0") != "0")
    training = {
        "epochs": epochs,
        "max_steps": steps,
        "learning_rate": rate,
        "row_length": row_length,
        "rows": rows,
        "micro_rows": micro_rows,
        "seed": seed,
        "effort": effort,
        "minutes": minutes,
        "shard": shard or None,
        "save_dtype": None if dtype == "auto" else dtype,
    }
    flags = RecipeFlags(
        source,
        out,
        objective,
        method,
        {"valid": valid, "test": test, "rehearse": rehearse},
        {name: value for name, value in training.items() if value is not None},
        skip_bad,
        recipe_keys(data_options),
    )
    recipe = flags.override_recipe(data) if data.suffix in (".yaml", ".yml") else flags.to_recipe(data)
    recipe = with_splits(recipe)
    if trials is not None:
        if dry_run or ray is not None:
            raise InvalidParameter(
                "trials", "A search cannot be looked at beforehand, nor run on a cluster: leave out one of the two."
            )
        _search(console, recipe, trials, overwrite=overwrite, restart=restart)
        return
    console.print("Reading the data …")
    run = run_recipe if ray is None else partial(_on_ray, ray, workers or 1)
    try:
        with progress_bar(console, "answers to rehearse") as on_answer:
            result = run(
                recipe,
                overwrite=overwrite,
                restart=restart,
                hooks=[ProgressBarHook(console, unit=recipe.objective.UNIT)],
                on_answer=on_answer,
                on_data=lambda found: console.print(f"{_describe(found)}\nMeasuring speed and memory …"),
                on_tried=lambda number, loss: console.print(f"prompt {number}: validation loss {loss:.4f}"),
                on_preflight=lambda settled, found: _show(console, settled, found),
                dry_run=dry_run,
            )
    except DryRunComplete:
        return
    except KeyboardInterrupt as error:
        raise typer.Exit(_stopped(console, error)) from None
    _report(console, recipe, result)
    if not console.quiet:
        budget = recipe.training.time_budget
        left = None if budget is None else 60 * budget - (time.monotonic() - began)
        compare_with_base(console, recipe, report, left, result.seconds_per_reply)


def _stopped(console: Any, error: KeyboardInterrupt) -> int:
    """Say how to go on, and return the exit code."""
    from contextlib import suppress

    from turnwise.training.stop_signals import exit_code

    with suppress(OSError):  # the terminal may be what closed
        console.print("\nStopped. The same command goes on from here.")
    return exit_code(error)


def _check_arguments(data: Path, source: str | None, out: Path | None) -> None:
    """Raise what is wrong with the paths themselves."""
    from turnwise.app.model_names import resolve_model_folder
    from turnwise.core.errors import InvalidData, InvalidParameter
    from turnwise.core.files import path_exists

    if not path_exists(data):
        raise InvalidData(f"There is no file or folder {data}.")
    if data.suffix not in (".yaml", ".yml") and out is None:
        raise InvalidParameter("out", "Say where the trained model should go with --out FOLDER.")
    if source is not None:
        resolve_model_folder(source)


def _launch(workers: int) -> int:
    """Run the same command in several processes, as torchrun starts them; its exit code. Signals are passed on."""
    import subprocess
    import sys

    from turnwise.training.stop_signals import capture_stop_signals

    words, left = [], iter(sys.argv[1:])
    for word in left:
        if word == "--workers":
            next(left, None)
        elif not word.startswith("--workers="):
            words.append(word)
    launcher = ["-c", LAUNCHER, "--standalone", f"--nproc-per-node={workers}", "--module", "turnwise"]
    with capture_stop_signals() as signum:
        process = subprocess.Popen([sys.executable, *launcher, *words], start_new_session=True)  # noqa: S603, ourselves
        sent = 0
        while True:
            if signum() and not sent:
                sent = signum()
                process.send_signal(sent)
            try:
                code = process.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                continue
            return 128 + sent if sent and code else code


def _on_ray(
    address: str, workers: int, recipe: "Recipe", *, overwrite: bool, restart: bool, dry_run: bool, **told: Any
) -> "TrainingResult":
    """A run on a cluster, which tells of less: the data is read there."""
    from turnwise.core.errors import InvalidParameter
    from turnwise.training.launch.ray_cluster import run_on_ray

    if dry_run or not recipe.method.TRAINS_WEIGHTS:
        raise InvalidParameter("ray", "On a cluster weights learn: leave out --ray to look at a run, or for a prompt.")
    return run_on_ray(
        recipe,
        address=address,
        workers=workers,
        overwrite=overwrite,
        restart=restart,
        hooks=told["hooks"],
        on_preflight=told["on_preflight"],
    )


def _search(console: Any, recipe: "Recipe", trials: int, *, overwrite: bool, restart: bool) -> None:
    """A search, a line for every trial."""
    from turnwise.training.launch.hpo import run_hpo

    def told(number: int, values: dict[str, Any], loss: float | None) -> None:
        settings = ", ".join(f"{name} {_format_number(value)}" for name, value in values.items())
        end = "ended early" if loss is None else f"validation loss {loss:.4f}"
        console.print(f"trial {number + 1} of {trials}: {settings} → {end}")

    try:
        found = run_hpo(recipe, trials=trials, overwrite=overwrite, restart=restart, on_trial=told)
    except KeyboardInterrupt as error:
        raise typer.Exit(_stopped(console, error)) from None
    best = ", ".join(f"{name} {_format_number(value)}" for name, value in found.values.items())
    console.print(
        f"best of {found.trials} trials, {found.pruned} ended early: {best} → validation loss {found.loss:.4f}"
    )
    console.print(f"The model is in {recipe.out}, with search.png and search.json beside it.", markup=False)


def _format_number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _describe(data: "DatasetSplits") -> str:
    parts = [
        f"{name} {pluralize(len(split), 'example')}, {pluralize(split.tokens, 'token')}"
        for name, split in (("train", data.train), ("validation", data.valid), ("test", data.test))
        if len(split)
    ]
    if data.num_replayed:
        parts[0] += f", {data.num_replayed:,} of the examples its own answers"
    if not len(data.valid):
        parts.append("no validation data, so no early stopping")
    if data.num_bad_rows:
        parts.append(f"{pluralize(data.num_bad_rows, 'bad row')} left out")
    parts.extend(data.truncation.sentences(data.train.context.length))
    return "; ".join(parts)


def _show(console: Any, recipe: "Recipe", found: "PreflightReport") -> None:
    """What is known before the first step: two examples as the model sees them, and what the run will take."""
    from rich.text import Text

    for example in found.examples:
        text = Text()
        for piece in example:
            text.append(_one_line(piece.text, most=400), style="green" if piece.is_target else "dim")
        console.print(text)
    if found.examples:
        console.print(Text.assemble("(", ("green", "green"), " is learned)"))
    training = recipe.training
    steps = training.max_steps or max(1, round(found.rows * training.epochs / training.batch_size))
    seconds = found.seconds(steps, training.batch_size)
    told = [
        f"{found.num_trainable:,} of {found.num_parameters:,} weights learn",
        f"{pluralize(steps, 'step')} of {training.batch_size * found.tokens_per_row:,.0f} tokens, "
        f"rows of {training.max_seq_len:,}, "
        f"batches {found.packing_efficiency:.0%} full",
        f"learning rate {training.learning_rate:g}",
    ]
    told.append(f"{found.tokens_per_second:,.0f} tokens/s, about {_duration(seconds)} without validation")
    told.append(f"about {found.peak_memory / 1e9:.1f} GB of memory")
    console.print("; ".join(told))


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


def _report(console: Any, recipe: "Recipe", result: "TrainingResult") -> None:
    from rich.markup import escape

    from turnwise.training.hooks import perplexity

    for sample in result.samples:
        console.print(_before_and_after(sample), markup=False)
    for name, before, after in (
        ("validation", result.valid_before, result.valid_after),
        ("test", result.test_before, result.test_after),
        ("general", result.retention_before, result.retention_after),
    ):
        if before is None or after is None:
            continue
        if recipe.objective.UNIT == "token":
            told = f"perplexity [bold]{perplexity(before):.2f} → {perplexity(after):.2f}[/bold] (cross-entropy "
            console.print(f"{name} {told}{before:.3f} → {after:.3f} per token)")
        else:
            console.print(f"{name} loss [bold]{before:.4f} → {after:.4f}[/bold] per {recipe.objective.UNIT}")
    if result.extra_metrics:
        console.print(
            "on validation data " + ", ".join(f"{name} {value:.3f}" for name, value in result.extra_metrics.items())
        )
    out = escape(recipe.out)
    if recipe.method.TRAINS_WEIGHTS:
        early = "stopped early, " if result.stopped_early else ""
        console.print(
            f"{early}{pluralize(result.steps, 'step')} in {result.seconds:.0f} s "
            f"({result.useful_tokens / result.seconds:,.0f} tokens/s); best weights from step {result.best_step}"
        )
        if result.rounding_error is not None:
            console.print(
                f"Saved as {result.saved_as}, like the base: rounding takes {result.rounding_error:.1%} of the change. "
                "--dtype float32 keeps all of it, in twice the space.",
                markup=False,
            )
        console.print(f"The model is in [bold]{out}[/bold], with recipe.yaml, metrics.jsonl and loss.png beside it.")
    else:
        console.print(f"No weight was changed, in {result.seconds:.0f} s; the prompt is in the model's chat template.")
        console.print(f"The model is in [bold]{out}[/bold], with recipe.yaml beside it.")
    if "encoder" not in recipe.objective.MODEL_KINDS:
        console.print(f"Talk to it: turnwise chat {out}")


def _before_and_after(sample: "ReplySample") -> str:
    question, before, after = (_one_line(text) for text in (sample.question, sample.before, sample.after))
    return f"“{question}”\n  before → {before}\n  after  → {after}"


def _one_line(text: str, most: int = 200) -> str:
    """Text for the terminal: a model may say anything, also control characters."""
    line = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))
    return line if len(line) <= most else line[: most - 1] + "…"
