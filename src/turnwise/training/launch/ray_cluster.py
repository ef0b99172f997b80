"""Training on a Ray cluster, which starts the workers and replaces the ones it loses.

The command stays connected to the cluster, shows the progress of the main worker and passes Ctrl-C on. Checkpoints are
in the usual folder, so a run can start with Ray and continue without it.
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

LOCAL = "local"  # address of a new cluster on this machine, for this run only
MAX_FAILURES = 3  # times that lost workers are restarted
POLL_SECONDS = 0.2  # between two checks for Ctrl-C
RESULT, USER_ERROR = "result", "user_error"  # messages of the main worker besides the events of `TrainerHook`


def run_on_ray(
    recipe: Recipe,
    *,
    address: str,
    num_workers: int,
    overwrite: bool = False,
    restart: bool = False,
    hooks: Sequence[TrainerHook] = (),
) -> TrainingResult:
    """Train as `run_recipe` does, on workers of a cluster that shares a file system with this machine.

    Args:
        recipe: the recipe.
        address: host:port of the cluster, "auto" for the one this machine is part of, "local" for a new one.
        num_workers: number of workers; each has a GPU if the cluster has enough of them.
        overwrite: replace an existing output folder, once the new model is complete.
        restart: discard an unfinished run instead of resuming it.
        hooks: receive the preflight report and the events of training.

    Raises:
        UserError: as `run_recipe`, or Ray is not installed, or the cluster cannot be reached.
        TurnwiseError: workers were lost too often.
        KeyboardInterrupt: Ctrl-C ended the run; a checkpoint was written.
    """
    work = check_run_dir(recipe, overwrite=overwrite, restart=restart)
    if restart:  # once, and not each time workers are restarted
        shutil.rmtree(work / CHECKPOINT, ignore_errors=True)
    out = output_dir(recipe).absolute()
    ray_dir = out.with_name(out.name + ".ray")  # Ray's own files
    try:
        with _cluster(address, num_workers) as ray, capture_stop_signals() as signum, ThreadPoolExecutor(1) as thread:
            queue = import_module("ray.util.queue").Queue
            events, stop_requests = queue(), queue()
            worker = partial(_run_worker, recipe, str(Path.cwd()), overwrite, events, stop_requests)
            try:
                training = thread.submit(_torch_trainer(ray, worker, num_workers, ray_dir).fit)
                return _forward_events(events, stop_requests, training, signum, hooks)
            finally:
                ray.shutdown()  # also ends waiting for a lost worker, and so the thread
    finally:
        shutil.rmtree(ray_dir, ignore_errors=True)


@contextmanager
def _cluster(address: str, num_workers: int) -> Iterator[Any]:
    """Context manager: connect to a cluster, without usage statistics; a new cluster has no dashboard."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        ray = import_module("ray")
        import_module("ray.train.torch")
    except ImportError:
        raise UserError("Training on a Ray cluster needs ray: pip install 'turnwise[ray]'") from None
    new_cluster = {"address": LOCAL, "include_dashboard": False, "num_cpus": num_workers + 1}
    options = new_cluster if address == LOCAL else {"address": address}
    try:
        if address not in (LOCAL, "auto"):
            _check_reachable(address)
        ray.init(**options, log_to_driver=False, logging_level="ERROR")
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"There is no Ray cluster at '{address}': {str(error).splitlines()[0]}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise `OSError` if nothing listens at the address: Ray itself would retry for minutes."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), timeout=5).close()


def _torch_trainer(ray: Any, worker: Callable[[], None], num_workers: int, ray_dir: Path) -> Any:
    train = import_module("ray.train")
    use_gpu = ray.cluster_resources().get("GPU", 0) >= num_workers
    failure_config = train.FailureConfig(max_failures=MAX_FAILURES)
    return import_module("ray.train.torch").TorchTrainer(
        worker,
        scaling_config=train.ScalingConfig(num_workers=num_workers, use_gpu=use_gpu),
        run_config=train.RunConfig(storage_path=str(ray_dir), failure_config=failure_config),
    )


def _forward_events(
    events: Any, stop_requests: Any, training: Future[Any], signum: Callable[[], int], hooks: Sequence[TrainerHook]
) -> TrainingResult:
    """Pass the events of the main worker to the hooks until all workers have ended; return the result."""
    empty = import_module("ray.util.queue").Empty
    result: TrainingResult | None = None
    stop_sent = is_training = False
    try:
        while True:
            is_done = training.done()  # before the queue is read, so that no event is lost
            if signum() and not stop_sent:
                stop_requests.put("stop")
                stop_sent = True
            try:
                name, arguments, keywords = events.get(timeout=POLL_SECONDS)
            except empty:
                if not is_done:
                    continue
                break
            if name == RESULT:
                (result,) = arguments
            elif name == USER_ERROR:
                raise UserError(*arguments)
            else:
                if name == "on_train_begin" and is_training:  # the workers were lost without an end event
                    _end_training(hooks)
                is_training = name == "on_train_begin" or (is_training and name != "on_train_end")
                for hook in hooks:
                    getattr(hook, name)(*arguments, **keywords)
    finally:
        if is_training:
            _end_training(hooks)
    if result is not None:
        return result
    if stop_sent and training.exception() is None:
        raise TrainingInterrupted(signum())
    raise TurnwiseError(
        f"The workers failed {MAX_FAILURES + 1} times: {training.exception()}. The same command resumes from the "
        "last checkpoint."
    )


def _end_training(hooks: Sequence[TrainerHook]) -> None:
    for hook in hooks:
        hook.on_train_end()


class _QueueHook(TrainerHook):
    """Puts events into a queue, as method name, arguments and keyword arguments."""

    def __init__(self, events: Any) -> None:
        self._events = events

    def on_preflight(self, recipe: Recipe, report: PreflightReport) -> None:
        self._events.put(("on_preflight", (recipe, report), {}))

    def on_train_begin(self, *, total_steps: int, step: int) -> None:
        self._events.put(("on_train_begin", (), {"total_steps": total_steps, "step": step}))

    def on_step_end(self, report: StepReport) -> None:
        self._events.put(("on_step_end", (report,), {}))

    def on_evaluate(self, report: ValidationReport) -> None:
        self._events.put(("on_evaluate", (report,), {}))

    def on_train_end(self) -> None:
        self._events.put(("on_train_end", (), {}))


def _run_worker(recipe: Recipe, folder: str, overwrite: bool, events: Any, stop_requests: Any) -> None:
    """Run the recipe as one worker; the main worker reports its events and polls for a stop request."""
    os.chdir(folder)  # paths in a recipe may be relative to the folder of the command
    is_main = os.environ["RANK"] == "0"
    try:
        result = run_recipe(
            recipe,
            overwrite=overwrite,
            hooks=[_QueueHook(events)],
            stop=lambda: is_main and not stop_requests.empty(),
        )
    except KeyboardInterrupt:
        return
    except UserError as error:
        events.put((USER_ERROR, (str(error),), {}))
        raise
    if is_main:
        events.put((RESULT, (result,), {}))
