"""Workers on a Ray cluster, which starts them, tells each who it is as torchrun does, and replaces those it loses.

The command stays beside the cluster, shows what the first worker tells of, and passes Ctrl-C on. Checkpoints go where
they always go, so a run may begin with Ray and go on without.
"""

import os
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from turnwise.core.errors import TurnwiseError, UserError
from turnwise.training.checkpoint_files import CHECKPOINT
from turnwise.training.hooks import StepReport, TrainerHook, TrainingResult, ValidationReport
from turnwise.training.launch.preflight import PreflightReport
from turnwise.training.launch.run_dir import check_run_dir, output_dir
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.recipe import Recipe
from turnwise.training.stop_signals import TrainingInterrupted, capture_stop_signals

LOCAL = "local"  # a cluster of this machine alone, for this run
FAILURES = 3  # times that workers are started again
PATIENCE = 0.2  # seconds between two looks at Ctrl-C


def run_on_ray(
    recipe: Recipe,
    *,
    address: str,
    workers: int,
    overwrite: bool = False,
    restart: bool = False,
    hooks: Sequence[TrainerHook] = (),
    on_preflight: Callable[[Recipe, PreflightReport], None] = lambda *_: None,
) -> TrainingResult:
    """Train as `run_recipe` does, in so many workers of a cluster that share a file system with us.

    Args:
        recipe: what to do.
        address: host:port of the cluster, "auto" for the one this machine is part of, "local" for one of its own.
        workers: how many; each has a GPU if the cluster has enough of them.
        overwrite, restart, hooks, on_preflight: as there.

    Raises:
        UserError: as there, or Ray is not installed or not to be reached.
        TurnwiseError: workers were lost too often.
        KeyboardInterrupt: after Ctrl-C, once a checkpoint is written.
    """
    work = check_run_dir(recipe, overwrite=overwrite, restart=restart)
    if restart:  # now, and not whenever workers are started again
        shutil.rmtree(work / CHECKPOINT, ignore_errors=True)
    out = output_dir(recipe).absolute()
    own = out.with_name(out.name + ".ray")  # what Ray writes for itself
    try:
        with _cluster(address, workers) as ray, capture_stop_signals() as interrupted, ThreadPoolExecutor(1) as thread:
            queue = import_module("ray.util.queue").Queue
            told, asked = queue(), queue()
            each = partial(_work, recipe, str(Path.cwd()), overwrite, told, asked)
            try:
                fitted = thread.submit(_trainer(ray, each, workers, own).fit)
                return _follow(told, asked, fitted, interrupted, hooks, on_preflight)
            finally:
                ray.shutdown()  # also ends who waits for a worker that is gone, and so the thread
    finally:
        shutil.rmtree(own, ignore_errors=True)


@contextmanager
def _cluster(address: str, workers: int) -> Iterator[Any]:
    """Ray, connected; without its usage statistics, and without a dashboard where we start it."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        ray = import_module("ray")
        import_module("ray.train.torch")
    except ImportError:
        raise UserError("Training on a Ray cluster needs ray: pip install 'turnwise[ray]'") from None
    alone = {"address": LOCAL, "include_dashboard": False, "num_cpus": workers + 1}
    try:
        if address not in (LOCAL, "auto"):
            _reach(address)
        ray.init(**(alone if address == LOCAL else {"address": address}), log_to_driver=False, logging_level="ERROR")
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"There is no Ray cluster at '{address}': {str(error).splitlines()[0]}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Raise where nobody listens: Ray itself would try for many minutes."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), timeout=5).close()


def _trainer(ray: Any, each: Callable[[], None], workers: int, own: Path) -> Any:
    train = import_module("ray.train")
    use_gpu = ray.cluster_resources().get("GPU", 0) >= workers
    return import_module("ray.train.torch").TorchTrainer(
        each,
        scaling_config=train.ScalingConfig(num_workers=workers, use_gpu=use_gpu),
        run_config=train.RunConfig(storage_path=str(own), failure_config=train.FailureConfig(max_failures=FAILURES)),
    )


def _follow(
    told: Any,
    asked: Any,
    fitted: Future[Any],
    interrupted: Callable[[], int],
    hooks: Sequence[TrainerHook],
    on_preflight: Callable[[Recipe, PreflightReport], None],
) -> TrainingResult:
    """Pass on what the first worker tells of, until all are done."""
    empty = import_module("ray.util.queue").Empty
    result: TrainingResult | None = None
    stopping = watched = False
    try:
        while True:
            over = fitted.done()  # looked at first: what was told before is taken after
            if interrupted() and not stopping:
                asked.put("stop")
                stopping = True
            try:
                name, values = told.get(timeout=PATIENCE)
            except empty:
                if not over:
                    continue
                break
            if name == "result":
                result = values
            elif name == "refused":
                raise UserError(values)
            elif name == "preflight":
                on_preflight(*values)
            else:
                if name == "start" and watched:  # by workers that were lost
                    for hook in hooks:
                        hook.end()
                watched = name != "end"
                for hook in hooks:
                    getattr(hook, name)(**values)
    finally:
        if watched:
            for hook in hooks:
                hook.end()
    if result is not None:
        return result
    if stopping and fitted.exception() is None:
        raise TrainingInterrupted(interrupted())
    raise TurnwiseError(
        f"The workers failed, {FAILURES + 1} times in all: {fitted.exception()}. The same command goes on from the "
        "last checkpoint."
    )


class _Telling:
    """Tells the command of what happens (a `Hook`)."""

    def __init__(self, told: Any) -> None:
        self._told = told

    def start(self, *, total_steps: int, step: int) -> None:
        self._told.put(("start", {"total_steps": total_steps, "step": step}))

    def step(self, report: StepReport) -> None:
        self._told.put(("step", {"report": report}))

    def validation(self, report: ValidationReport) -> None:
        self._told.put(("validation", {"report": report}))

    def end(self) -> None:
        self._told.put(("end", {}))


def _work(recipe: Recipe, folder: str, overwrite: bool, told: Any, asked: Any) -> None:
    """What every worker does; the first one tells of it, and looks whether it should stop."""
    os.chdir(folder)  # what a recipe names may be named from where the command stands
    first = os.environ["RANK"] == "0"
    try:
        result = run_recipe(
            recipe,
            overwrite=overwrite,
            hooks=[_Telling(told)],
            on_preflight=lambda *found: told.put(("preflight", found)) if first else None,
            stop=lambda: first and not asked.empty(),
        )
    except KeyboardInterrupt:
        return
    except UserError as error:
        told.put(("refused", str(error)))
        raise
    if first:
        told.put(("result", result))
