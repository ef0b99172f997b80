"""`turnwise train`: fine-tune or pre-train, from flags or from a recipe."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from turnwise.cli.data_flags import data_source_flags
from turnwise.cli.shared_flags import option_groups
from turnwise.cli.train_options import TrainOptions

if TYPE_CHECKING:
    from turnwise.data.read_options import ReadOptions


@data_source_flags
@option_groups
def train(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="File or folder of dialogues, or a recipe (.yaml).")],
    *,
    options: TrainOptions,
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
    _check_arguments(data, options.recipe.base_model, options.recipe.out)  # before torch is loaded, which takes a while

    from rich.console import Console

    from turnwise.cli.before_after_report import report_before_after
    from turnwise.cli.train_output import ConsoleHook, print_result
    from turnwise.cli.train_run import report_interrupt, run_training, search
    from turnwise.core.errors import InvalidParameter
    from turnwise.core.event_log import open_event_log
    from turnwise.training.examples.recipe_sources import with_splits

    workers, output, hpo_trials = options.workers, options.output, options.automatic.hpo_trials
    if workers.num_workers is not None and workers.num_workers > 1 and workers.ray is None:
        from turnwise.cli.worker_launcher import launch_workers

        raise typer.Exit(launch_workers(workers.num_workers))
    start = time.monotonic()
    console = Console(stderr=True, highlight=False, quiet=os.environ.get("RANK", "0") != "0")
    flags = options.recipe_flags(data_options)
    recipe = flags.override_recipe(data) if data.suffix in (".yaml", ".yml") else flags.to_recipe(data)
    recipe = with_splits(recipe)
    if hpo_trials is not None:
        if output.dry_run or workers.ray is not None or output.events is not None:
            raise InvalidParameter("hpo_trials", "--hpo-trials cannot be combined with --dry-run, --ray or --events.")
        search(console, recipe, hpo_trials, output)
        return
    if recipe.objective.READS_ANNOTATIONS and output.evaluation != "none":
        from turnwise.evaluation.classification.label_report import check_libraries

        check_libraries()  # before the run, not after it
    with open_event_log(output.events) as events:
        try:
            with ConsoleHook(console, recipe) as hook:
                result = run_training(recipe, hook, workers, output, events)
        except KeyboardInterrupt as error:
            raise typer.Exit(report_interrupt(console, error)) from None
        if result is None:
            return
        print_result(console, recipe, result)
        if not console.quiet:
            budget = recipe.training.time_budget
            seconds_left = None if budget is None else 60 * budget - (time.monotonic() - start)
            report_before_after(console, recipe, output.evaluation, seconds_left, result.seconds_per_reply, events)


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
