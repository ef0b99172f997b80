"""Runs of `turnwise train`: here or on a cluster, or many of them to search hyperparameters."""

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from turnwise.cli.train_options import TrainOutputOptions, WorkerOptions
    from turnwise.core.event_log import EventLog
    from turnwise.training.hooks import TrainerHook, TrainingResult
    from turnwise.training.recipe import Recipe


def run_training(
    recipe: "Recipe",
    hook: "TrainerHook",
    workers: "WorkerOptions",
    output: "TrainOutputOptions",
    events: "EventLog | None" = None,
) -> "TrainingResult | None":
    """Run the recipe here or on a cluster; None after a dry run.

    Args:
        recipe: the recipe.
        hook: receives the events of the run.
        workers: processes that train.
        output: what is written.
        events: log of the events; None: there is none.
    """
    from turnwise.core.errors import InvalidParameter

    if workers.ray is not None:
        from turnwise.training.launch.ray_cluster import run_on_ray

        if output.dry_run or events is not None or not recipe.method.TRAINS_WEIGHTS:
            raise InvalidParameter("ray", "--ray cannot be combined with --dry-run, --events or the method 'prompt'.")
        return run_on_ray(
            recipe,
            address=workers.ray,
            num_workers=workers.num_workers or 1,
            overwrite=output.overwrite,
            restart=output.restart,
            hooks=[hook],
        )
    hooks = [hook]
    if events is not None:
        from turnwise.training.event_hook import EventHook

        hooks.append(EventHook(events))
    if output.dry_run:
        from turnwise.training.launch import dry_run as dry

        dry.dry_run(recipe, hooks=hooks)
        return None
    from turnwise.training.launch.run_recipe import run_recipe

    return run_recipe(recipe, overwrite=output.overwrite, restart=output.restart, hooks=hooks)


def search(console: Any, recipe: "Recipe", trials: int, output: "TrainOutputOptions") -> None:
    """Run a hyperparameter search; print one line per trial."""
    from turnwise.training.launch.hpo import run_hpo

    def print_trial(number: int, values: dict[str, Any], loss: float | None) -> None:
        outcome = "pruned" if loss is None else f"validation loss {loss:.4f}"
        console.print(f"trial {number + 1} of {trials}: {_format_values(values)} → {outcome}")

    try:
        result = run_hpo(
            recipe, trials=trials, overwrite=output.overwrite, restart=output.restart, on_trial=print_trial
        )
    except KeyboardInterrupt as error:
        raise typer.Exit(report_interrupt(console, error)) from None
    console.print(
        f"best of {result.trials} trials ({result.pruned} pruned): {_format_values(result.values)} → validation loss "
        f"{result.loss:.4f}"
    )
    console.print(f"The model is in {recipe.out}, with search.png and search.json.", markup=False)


def _format_values(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
    )


def report_interrupt(console: Any, error: KeyboardInterrupt) -> int:
    """Print how to resume; return the exit code."""
    from contextlib import suppress

    from turnwise.training.stop_signals import exit_code

    with suppress(OSError):  # the terminal may be closed
        console.print("\nStopped. The same command resumes the run.")
    return exit_code(error)
