"""A whole run: recipe in, model folder out.

While it works everything is in `OUT.partial`; `OUT` appears only when it is complete. A run that was killed goes on
from `OUT.partial` when the same recipe is run again.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from turnwise.core.errors import InvalidParameter, SaveFailed
from turnwise.core.files import write_file
from turnwise.training import watch
from turnwise.training.base import Base
from turnwise.training.card import model_card
from turnwise.training.dataset import Datasets
from turnwise.training.loading import load_datasets
from turnwise.training.loop import Trainer
from turnwise.training.opening import load_base
from turnwise.training.recipe import Recipe
from turnwise.training.report import Hook, Result, perplexity
from turnwise.training.samples import answers, before_and_after, keep_before
from turnwise.training.state import BEST, CHECKPOINT, checkpoint_recipe

DATA = "data"  # the folder that keeps examples
LEFT = (BEST, watch.TENSORBOARD)


def work_folder(out: Path) -> Path:
    """Where a run keeps its things until it is complete."""
    return out.with_name(out.name + ".partial")


def out_folder(recipe: Recipe) -> Path:
    """Where the finished model goes.

    Raises:
        InvalidParameter: that is no folder's name.
    """
    out = Path(recipe.out).expanduser()
    if out.name in ("", ".."):
        raise InvalidParameter("out", f"'out' must name a new folder, not '{recipe.out}'.")
    return out


def check_out(recipe: Recipe, *, overwrite: bool, restart: bool) -> Path:
    """The work folder; refuses to lose what is there unless told to.

    Raises:
        InvalidParameter: `out` exists, or the work folder holds an unfinished run of another recipe.
    """
    out = out_folder(recipe)
    work = work_folder(out)
    if out.exists() and not overwrite:
        raise InvalidParameter("out", f"{out} exists already. Choose another --out, or pass --overwrite to replace it.")
    if out.exists() and not (out / "config.json").is_file():
        raise InvalidParameter("out", f"{out} is not a model folder, so it is not replaced. Choose another --out.")
    begun = checkpoint_recipe(work)
    if begun not in (None, recipe.dump()) and not restart:
        raise InvalidParameter(
            "out",
            f"{work} holds an unfinished run of another recipe. Run that recipe again to go on with it, choose another "
            "--out, or pass --restart to throw it away.",
        )
    return work


def run_recipe(
    recipe: Recipe,
    *,
    overwrite: bool = False,
    restart: bool = False,
    hooks: Sequence[Hook] = (),
    on_data: Callable[[Datasets], None] = lambda _: None,
    on_item: Callable[[], None] = lambda: None,
    device: torch.device | None = None,
) -> Result:
    """Train as the recipe says and write the model folder.

    Args:
        recipe: what to do.
        overwrite: replace `out` where it exists, once the new model is complete.
        restart: throw an unfinished run away instead of going on with it.
        hooks: watchers beside the metrics file and TensorBoard.
        on_data: called once the data is loaded.
        on_item: called for every conversation read.
        device: where to train; None is the GPU where there is one.

    Raises:
        UserError: a recipe, model or data file that cannot work.
        SaveFailed: the disk refused.
        TurnwiseError: the loss is no longer a number.
    """
    work = check_out(recipe, overwrite=overwrite, restart=restart)
    base = recipe.method.prepare(load_base(recipe), recipe.training.seed)
    renderer = base.renderer
    begun = checkpoint_recipe(work) is not None and not restart
    try:
        data = _data(recipe, base, work, begun, on_item)
        on_data(data)
        if not begun:  # what a run left before its first checkpoint is of no use
            for name in (*LEFT, *((CHECKPOINT,) if restart else ())):
                shutil.rmtree(work / name, ignore_errors=True)
        trainer = Trainer(
            recipe,
            base.model,
            data,
            work=work,
            hooks=[watch.MetricsFile(work), watch.TensorBoard(work), *hooks],
            device=device or torch.device("cuda" if torch.cuda.is_available() else "cpu"),
        )
        if trainer.state.step == 0:
            keep_before(work, answers(recipe.method.plain(trainer.model), renderer, data.samples))
        result = trainer.run()
        after = answers(recipe.method.plain(trainer.model), renderer, data.samples)
        result = replace(result, samples=before_and_after(work, data.samples, after))
        title, unit = out_folder(recipe).name, recipe.objective.UNIT
        watch.draw_loss(work / watch.METRICS, work / "loss.png", title=title, unit=unit)
        _save(recipe, base, result, data, work)
    except OSError as error:
        raise SaveFailed(
            f"Could not write in {work}: {error.strerror or error}. Mend that and run the same command again: it goes "
            "on from the last checkpoint."
        ) from error
    shutil.rmtree(work, ignore_errors=True)
    return result


def _data(recipe: Recipe, base: Base, work: Path, begun: bool, on_item: Callable[[], None]) -> Datasets:
    """The examples; of data that is refused nothing is left behind."""
    try:
        return load_datasets(recipe, base.renderer, base.model, folder=work / DATA, on_item=on_item, again=begun)
    except BaseException:
        if not begun:
            shutil.rmtree(work / DATA, ignore_errors=True)
            with suppress(OSError):  # there may be an unfinished run
                work.rmdir()
        raise


def _save(recipe: Recipe, base: Base, result: Result, data: Datasets, work: Path) -> None:
    module = base.model.module.cpu()
    summary = json.dumps(result_summary(recipe, result, data), indent=2, ensure_ascii=False)
    write_file(work / "result.json", summary + "\n")
    parameters = sum(parameter.numel() for parameter in module.parameters())
    learned = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
    card = model_card(recipe, result, parameters=parameters, learned=learned, train_tokens=data.train.tokens)
    names = (watch.METRICS, "loss.png", "result.json", watch.TENSORBOARD)
    files: dict[str, str | Path] = {name: work / name for name in names}
    files |= {"recipe.yaml": recipe.dump(), "README.md": card}
    recipe.method.save(out_folder(recipe), base, files)


def result_summary(recipe: Recipe, result: Result, data: Datasets) -> dict[str, Any]:
    """What a run came to, as plain values."""
    losses = {
        f"{split}_{when}": getattr(result, f"{split}_{when}")
        for split in ("valid", "test")
        for when in ("before", "after")
    }
    return {
        "steps": result.steps,
        "best_step": result.best_step,
        "stopped_early": result.stopped_early,
        "seconds": round(result.seconds, 2),
        "useful_tokens": result.useful_tokens,
        "train_tokens": data.train.tokens,
        "fill": round(data.train.fill, 4),
        "skipped_rows": data.skipped,
        "loss": {name: loss for name, loss in losses.items() if loss is not None},
        **_perplexities(recipe, losses),
        **({"figures": {name: round(value, 4) for name, value in result.figures.items()}} if result.figures else {}),
        "samples": [asdict(sample) for sample in result.samples],
    }


def _perplexities(recipe: Recipe, losses: dict[str, float | None]) -> dict[str, dict[str, float]]:
    if recipe.objective.UNIT != "token":
        return {}
    return {"perplexity": {name: round(perplexity(loss), 3) for name, loss in losses.items() if loss is not None}}
