"""Output folder and work folder of a run; existing models and unfinished runs are only replaced on request."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import yaml

from turnwise.core.directory_lock import DirectoryLocked, lock_directory
from turnwise.core.directory_swap import recover_directory
from turnwise.core.errors import InvalidParameter, SaveFailed
from turnwise.training.checkpoint_files import read_checkpoint_recipe
from turnwise.training.distributed.worker_group import WorkerGroup
from turnwise.training.recipe import Recipe
from turnwise.training.renamed_keys import with_current_keys

LOCK_WAIT_SECONDS = 30.0  # a replaced worker may hold the lock of the run folder that long


def work_dir(out: Path) -> Path:
    """Folder of an unfinished run's files."""
    return out.with_name(out.name + ".partial")


def output_dir(recipe: Recipe) -> Path:
    """Folder of the finished model.

    Raises:
        InvalidParameter: `recipe.out` does not name a folder.
    """
    out = Path(recipe.out).expanduser()
    if out.name in ("", ".."):
        raise InvalidParameter("out", f"'out' must name a new folder, not '{recipe.out}'.")
    return out


def check_replaceable(out: Path) -> None:
    """Raise `InvalidParameter` if the folder exists and holds neither a model nor an adapter."""
    if out.exists() and not any((out / name).is_file() for name in ("config.json", "adapter_config.json")):
        raise InvalidParameter("out", f"{out} is not a model folder, so it is not replaced. Choose another --out.")


def check_run_dir(recipe: Recipe, *, overwrite: bool, restart: bool) -> Path:
    """Return the work folder, after checking that nothing would be lost.

    Args:
        recipe: names the output folder.
        overwrite: allow replacing an existing model.
        restart: allow discarding an unfinished run.

    Raises:
        InvalidParameter: `out` exists, or the work folder holds an unfinished run of another recipe.
    """
    out = output_dir(recipe)
    work = work_dir(out)
    recover_directory(out)
    if out.exists() and not overwrite:
        raise InvalidParameter("out", f"{out} exists already. Choose another --out, or pass --overwrite to replace it.")
    check_replaceable(out)
    unfinished = read_checkpoint_recipe(work)
    if unfinished is not None and _comparable(unfinished) != _comparable(recipe.dump()) and not restart:
        raise InvalidParameter(
            "out",
            f"{work} holds an unfinished run of another recipe. Run that recipe again to continue it, choose another "
            "--out, or pass --restart to discard it.",
        )
    return work


@contextmanager
def open_run_dir(recipe: Recipe, workers: WorkerGroup, *, overwrite: bool, restart: bool) -> Iterator[Path]:
    """Context manager: check the folders of a run and yield the work folder, locked by the main worker.

    Raises as `check_run_dir` and `lock_run_dir` do.
    """
    work = check_run_dir(recipe, overwrite=overwrite, restart=restart)
    wait = LOCK_WAIT_SECONDS if workers.world_size > 1 else 0.0
    with lock_run_dir(work, wait) if workers.is_main else nullcontext():
        check_run_dir(recipe, overwrite=overwrite, restart=restart)  # another run may have finished meanwhile
        yield work


@contextmanager
def lock_run_dir(work: Path, wait: float = 0.0) -> Iterator[None]:
    """Context manager: lock the work folder for this process.

    Args:
        work: the folder, created if missing.
        wait: seconds to wait for another process, such as a worker that is being replaced.

    Raises:
        InvalidParameter: another training holds the lock.
        SaveFailed: the folder cannot be created.
    """
    deadline = time.monotonic() + wait
    try:
        while True:
            lock = lock_directory(work)
            try:
                lock.__enter__()
                break
            except DirectoryLocked:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.2)
    except DirectoryLocked as error:
        process = "" if error.pid is None else f" (process {error.pid})"
        raise InvalidParameter(
            "out", f"Another training is writing to {work}{process}. Wait for it, or choose another --out."
        ) from None
    except OSError as error:
        raise SaveFailed(f"Could not write in {work}: {error.strerror or error}.") from error
    try:
        yield
    finally:
        lock.__exit__(None, None, None)


def _comparable(recipe_text: str) -> dict[str, Any]:
    """Parse a recipe without the settings that may change when a run is resumed."""
    values: dict[str, Any] = with_current_keys(yaml.safe_load(recipe_text))
    for name in ("fsdp", "micro_batch_size"):
        values["training"].pop(name, None)
    return values
