"""`turnwise train`: fine-tune or pre-train, from flags or from a recipe."""

import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from turnwise.cli.data_flags import data_source_flags, recipe_keys
from turnwise.cli.recipe_flags import RecipeFlags
from turnwise.cli.shared_flags import InteractionFormatName

if TYPE_CHECKING:
    from turnwise.data.read_options import ReadOptions
    from turnwise.training.hooks import TrainerHook, TrainingResult
    from turnwise.training.recipe import Recipe

Preset = Literal["quick", "normal", "thorough"]
DATA, HYPERPARAMETERS = "Data", "Hyperparameters"
AUTOMATIC, WORKERS, OUTPUT = "Automatic hyperparameters", "Workers", "Output and evaluation"


@data_source_flags
def train(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="File or folder of dialogues, or a recipe (.yaml).")],
    base_model: Annotated[
        str | None,
        typer.Option(
            help="Model to start from: a name of `turnwise models list`, or a folder. Default: tiny, the bundled model."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the trained model.")] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            help="Training objective: sft (replies), iqlearn (replies, with implied rewards), clm (every token), dpo "
            "(preference pairs), kto (ratings), adversarial, best_of_n, spin (sampled replies), seq2seq, span, mlm, token_classification or "
            "sequence_classification. "
            "Options follow the name: dpo:beta=0.2. Default: sft."
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="Which weights are trained: full (all), freeze (some layers), lora (adapter), prompt_tuning (virtual "
            "tokens) or prompt (none). Options follow the name: freeze:last_layers=2, lora:rank=8,dora=true. "
            "Default: lora if the base model is an adapter or a GGUF file, else full."
        ),
    ] = None,
    interaction_format: InteractionFormatName = None,
    valid: Annotated[
        Path | None, typer.Option(help="Validation dialogues. Default: a tenth of DATA.", rich_help_panel=DATA)
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(help="Test dialogues. Their loss is measured before and after training.", rich_help_panel=DATA),
    ] = None,
    replay_ratio: Annotated[
        float | None,
        typer.Option(
            help="Share of the training tokens that are the base model's own replies to other prompts. Reduces "
            "forgetting; try 0.5. Default: 0.",
            min=0,
            max=0.9,
            rich_help_panel=DATA,
        ),
    ] = None,
    skip_bad: Annotated[
        bool,
        typer.Option(
            "--skip-bad-rows", help="Skip bad rows instead of stopping at the first one.", rich_help_panel=DATA
        ),
    ] = False,
    epochs: Annotated[
        float | None, typer.Option(help="Passes over the data. Default: 3.", rich_help_panel=HYPERPARAMETERS)
    ] = None,
    max_steps: Annotated[
        int | None, typer.Option(help="Optimizer steps. Overrides --epochs.", rich_help_panel=HYPERPARAMETERS)
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Peak learning rate. Default: 0.0005.", rich_help_panel=HYPERPARAMETERS)
    ] = None,
    max_seq_len: Annotated[
        int | None,
        typer.Option(
            help="Maximum sequence length in tokens. Default: enough for 99 % of the dialogues, at most the model's "
            "context.",
            rich_help_panel=HYPERPARAMETERS,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="Sequences per optimizer step, over all workers. Default: 8.", rich_help_panel=HYPERPARAMETERS
        ),
    ] = None,
    micro_batch_size: Annotated[
        int | None,
        typer.Option(
            help="Sequences per forward pass. Smaller values use less memory. Default: as many as fit, at most 8.",
            min=1,
            rich_help_panel=HYPERPARAMETERS,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of data order and initialization. Default: 0.", rich_help_panel=HYPERPARAMETERS),
    ] = None,
    preset: Annotated[
        Preset | None,
        typer.Option(
            help="Derive unset steps, batch size, learning rate and patience from the data.", rich_help_panel=AUTOMATIC
        ),
    ] = None,
    time_budget: Annotated[
        float | None,
        typer.Option(
            help="Time budget in minutes, including the evaluation. Derives the same hyperparameters as --preset.",
            min=0.01,
            rich_help_panel=AUTOMATIC,
        ),
    ] = None,
    hpo_trials: Annotated[
        int | None,
        typer.Option(
            help="Search hyperparameters with this number of trials and keep the best model.",
            min=1,
            rich_help_panel=AUTOMATIC,
        ),
    ] = None,
    num_workers: Annotated[
        int | None,
        typer.Option(
            help="Number of training processes on this machine. For several machines, use torchrun. Default: 1.",
            min=1,
            rich_help_panel=WORKERS,
        ),
    ] = None,
    fsdp: Annotated[
        bool,
        typer.Option(
            "--fsdp",
            help="Shard parameters, gradients and optimizer state across workers (FSDP2).",
            rich_help_panel=WORKERS,
        ),
    ] = False,
    ray: Annotated[
        str | None,
        typer.Option(
            help="Run the workers on a Ray cluster: its address (host:port), auto for the cluster of this machine, or "
            "local to start one.",
            rich_help_panel=WORKERS,
        ),
    ] = None,
    evaluation: Annotated[
        Literal["quick", "full", "none"],
        typer.Option(
            help="Compare the model with its base model: quick (50 dialogues), full (500 dialogues, all metrics) or "
            "none.",
            rich_help_panel=OUTPUT,
        ),
    ] = "quick",
    save_dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option(help="Type of the saved weights. auto: the type of the base model.", rich_help_panel=OUTPUT),
    ] = "auto",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Show the data, the expected time and memory, and exit.", rich_help_panel=OUTPUT
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace OUT when the new model is complete.", rich_help_panel=OUTPUT),
    ] = False,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Discard an unfinished run instead of resuming it.", rich_help_panel=OUTPUT),
    ] = False,
    *,
    data_options: "ReadOptions",
) -> None:
    """Train a model on dialogues. The result has the weights with the lowest validation loss.

    Checkpoints are written about once per minute, and when Ctrl-C, SIGTERM or a closed terminal ends the run. The same
    command resumes an unfinished run.

    **Examples**

    ```
    turnwise train examples/bike_shop.jsonl --out runs/bikes
    turnwise train examples/bike_shop.jsonl --out runs/bikes --replay-ratio 0.5
    turnwise train talks.jsonl --base-model runs/bikes --out runs/more --epochs 2 --method lora:rank=8
    turnwise train pairs.jsonl --base-model runs/bikes --out runs/better --objective dpo:beta=0.2
    turnwise train talks.jsonl --out runs/iqlearn --objective iqlearn:regularization=0.1
    turnwise train talks.jsonl --base-model gpt2 --out runs/gpt2 --interaction-format human_assistant
    turnwise train talks.jsonl --out runs/quick --time-budget 10
    turnwise train talks.jsonl --out runs/best --hpo-trials 20
    turnwise train recipe.yaml --dry-run
    ```
    """
    _check_arguments(data, base_model, out)  # before torch is loaded, which takes a while

    from rich.console import Console

    from turnwise.cli.before_after_report import report_before_after
    from turnwise.cli.train_output import ConsoleHook, print_result
    from turnwise.core.errors import InvalidParameter
    from turnwise.training.examples.recipe_sources import with_splits

    if num_workers is not None and num_workers > 1 and ray is None:
        from turnwise.cli.worker_launcher import launch_workers

        raise typer.Exit(launch_workers(num_workers))
    start = time.monotonic()
    console = Console(stderr=True, highlight=False, quiet=os.environ.get("RANK", "0") != "0")
    training = {
        "epochs": epochs,
        "max_steps": max_steps,
        "learning_rate": learning_rate,
        "max_seq_len": max_seq_len,
        "batch_size": batch_size,
        "micro_batch_size": micro_batch_size,
        "seed": seed,
        "preset": preset,
        "time_budget": time_budget,
        "fsdp": fsdp or None,
        "save_dtype": None if save_dtype == "auto" else save_dtype,
    }
    flags = RecipeFlags(
        base_model=base_model,
        out=out,
        objective=objective,
        method=method,
        interaction_format=interaction_format,
        data={"valid": valid, "test": test, "replay_ratio": replay_ratio, "skip_bad_rows": skip_bad or None},
        training=training,
        source_options=recipe_keys(data_options),
    )
    recipe = flags.override_recipe(data) if data.suffix in (".yaml", ".yml") else flags.to_recipe(data)
    recipe = with_splits(recipe)
    if hpo_trials is not None:
        if dry_run or ray is not None:
            raise InvalidParameter("hpo_trials", "--hpo-trials cannot be combined with --dry-run or --ray.")
        _search(console, recipe, hpo_trials, overwrite=overwrite, restart=restart)
        return
    if recipe.objective.READS_ANNOTATIONS and evaluation != "none":
        from turnwise.evaluation.classification.label_report import check_libraries

        check_libraries()  # before the run, not after it
    run = partial(_run, dry_run=dry_run, ray=ray, num_workers=num_workers, overwrite=overwrite, restart=restart)
    try:
        with ConsoleHook(console, recipe) as hook:
            result = run(recipe, hook)
    except KeyboardInterrupt as error:
        raise typer.Exit(_report_interrupt(console, error)) from None
    if result is None:
        return
    print_result(console, recipe, result)
    if not console.quiet:
        budget = recipe.training.time_budget
        seconds_left = None if budget is None else 60 * budget - (time.monotonic() - start)
        report_before_after(console, recipe, evaluation, seconds_left, result.seconds_per_reply)


def _check_arguments(data: Path, base_model: str | None, out: Path | None) -> None:
    """Raise an error if a path does not exist or `--out` is missing."""
    from turnwise.app.model_names import resolve_model_folder
    from turnwise.core.errors import InvalidData, InvalidParameter
    from turnwise.core.files import path_exists

    if not path_exists(data):
        raise InvalidData(f"There is no file or folder {data}.")
    if data.suffix not in (".yaml", ".yml") and out is None:
        raise InvalidParameter("out", "Set the folder for the trained model with --out FOLDER.")
    if base_model is not None:
        resolve_model_folder(base_model)


def _run(
    recipe: "Recipe",
    hook: "TrainerHook",
    *,
    dry_run: bool,
    ray: str | None,
    num_workers: int | None,
    overwrite: bool,
    restart: bool,
) -> "TrainingResult | None":
    """Run the recipe here or on a cluster; None after a dry run."""
    from turnwise.core.errors import InvalidParameter

    if ray is not None:
        from turnwise.training.launch.ray_cluster import run_on_ray

        if dry_run or not recipe.method.TRAINS_WEIGHTS:
            raise InvalidParameter("ray", "--ray cannot be combined with --dry-run or the method 'prompt'.")
        return run_on_ray(
            recipe, address=ray, num_workers=num_workers or 1, overwrite=overwrite, restart=restart, hooks=[hook]
        )
    if dry_run:
        from turnwise.training.launch import dry_run as dry

        dry.dry_run(recipe, hooks=[hook])
        return None
    from turnwise.training.launch.run_recipe import run_recipe

    return run_recipe(recipe, overwrite=overwrite, restart=restart, hooks=[hook])


def _search(console: Any, recipe: "Recipe", trials: int, *, overwrite: bool, restart: bool) -> None:
    """Run a hyperparameter search; print one line per trial."""
    from turnwise.training.launch.hpo import run_hpo

    def print_trial(number: int, values: dict[str, Any], loss: float | None) -> None:
        outcome = "pruned" if loss is None else f"validation loss {loss:.4f}"
        console.print(f"trial {number + 1} of {trials}: {_format_values(values)} → {outcome}")

    try:
        result = run_hpo(recipe, trials=trials, overwrite=overwrite, restart=restart, on_trial=print_trial)
    except KeyboardInterrupt as error:
        raise typer.Exit(_report_interrupt(console, error)) from None
    console.print(
        f"best of {result.trials} trials ({result.pruned} pruned): {_format_values(result.values)} → validation loss "
        f"{result.loss:.4f}"
    )
    console.print(f"The model is in {recipe.out}, with search.png and search.json.", markup=False)


def _format_values(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
    )


def _report_interrupt(console: Any, error: KeyboardInterrupt) -> int:
    """Print how to resume; return the exit code."""
    from contextlib import suppress

    from turnwise.training.stop_signals import exit_code

    with suppress(OSError):  # the terminal may be closed
        console.print("\nStopped. The same command resumes the run.")
    return exit_code(error)
