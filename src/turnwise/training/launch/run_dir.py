"""Where a run works, and where what it makes goes; nothing that is there is lost unless somebody said so."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from turnwise.core.directory_lock import DirectoryLocked, lock_directory
from turnwise.core.directory_swap import recover_directory
from turnwise.core.errors import InvalidParameter, SaveFailed
from turnwise.training.checkpoint_files import read_checkpoint_recipe
from turnwise.training.recipe import Recipe


def work_dir(out: Path) -> Path:
    """Where a run keeps its things until it is complete."""
    return out.with_name(out.name + ".partial")


def output_dir(recipe: Recipe) -> Path:
    """Where the finished model goes.

    Raises:
        InvalidParameter: that is no folder's name.
    """
    out = Path(recipe.out).expanduser()
    if out.name in ("", ".."):
        raise InvalidParameter("out", f"'out' must name a new folder, not '{recipe.out}'.")
    return out


def check_replaceable(out: Path) -> None:
    """Raise where something is there that is neither a model nor an adapter."""
    if out.exists() and not any((out / name).is_file() for name in ("config.json", "adapter_config.json")):
        raise InvalidParameter("out", f"{out} is not a model folder, so it is not replaced. Choose another --out.")


def check_run_dir(recipe: Recipe, *, overwrite: bool, restart: bool) -> Path:
    """The work folder; refuses to lose what is there unless told to.

    Raises:
        InvalidParameter: `out` exists, or the work folder holds an unfinished run of another recipe.
    """
    out = output_dir(recipe)
    work = work_dir(out)
    recover_directory(out)
    if out.exists() and not overwrite:
        raise InvalidParameter("out", f"{out} exists already. Choose another --out, or pass --overwrite to replace it.")
    check_replaceable(out)
    begun = read_checkpoint_recipe(work)
    if begun is not None and _what(begun) != _what(recipe.dump()) and not restart:
        raise InvalidParameter(
            "out",
            f"{work} holds an unfinished run of another recipe. Run that recipe again to go on with it, choose another "
            "--out, or pass --restart to throw it away.",
        )
    return work


@contextmanager
def lock_run_dir(work: Path, wait: float = 0.0) -> Iterator[None]:
    """Within the block this process alone writes to the work folder.

    Args:
        work: the folder.
        wait: seconds that another process may still write there: a worker that is being replaced, say.

    Raises:
        InvalidParameter: another training is writing there.
        SaveFailed: the folder cannot be made.
    """
    until = time.monotonic() + wait
    try:
        while True:
            lock = lock_directory(work)
            try:
                lock.__enter__()
                break
            except DirectoryLocked:
                if time.monotonic() >= until:
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


def _what(said: str) -> dict[str, Any]:
    """What a recipe says, but for what may change while a run goes on: how weights are shared, rows at a time."""
    values: dict[str, Any] = yaml.safe_load(said)
    for name in ("shard", "micro_rows"):
        values["training"].pop(name, None)
    return values
