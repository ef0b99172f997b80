"""Exports a finished run: reply samples, loss plot, `result.json`, model card and model folder."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from turnwise import __version__
from turnwise.core.files import atomic_write
from turnwise.training import loggers
from turnwise.training.checkpoint_files import gather_trainable, load_trainable
from turnwise.training.distributed.sharding import is_sharded
from turnwise.training.examples.dataset import DatasetSplits
from turnwise.training.hooks import TrainingResult, perplexity
from turnwise.training.launch.model_card import model_card
from turnwise.training.launch.prepare import load_prepared_base
from turnwise.training.launch.reply_samples import generate_replies, pair_samples, save_samples_before
from turnwise.training.launch.run_dir import output_dir
from turnwise.training.launch.save_precision import rounding_loss_share, save_dtype
from turnwise.training.model_bundle import ModelBundle
from turnwise.training.plan import TrainingPlan
from turnwise.training.recipe import Recipe
from turnwise.training.rollouts import discriminator


def export(plan: TrainingPlan, result: TrainingResult) -> TrainingResult:
    """Write the model folder of a finished run. A collective operation: all workers must call it.

    Returns:
        The result with samples, dtype and rounding error, on the main worker.

    Raises:
        SaveFailed: the disk is full or not writable.
    """
    module = plan.base.model.module
    weights = gather_trainable(module, keep=plan.workers.is_main) if is_sharded(module) else None
    if plan.workers.is_main:
        base = plan.base if weights is None else _load_unsharded(plan, weights)
        result = _with_samples(plan, base, result)
        title, unit = output_dir(plan.recipe).name, plan.recipe.objective.UNIT
        loggers.plot_loss(plan.work / loggers.METRICS_FILE, plan.work / "loss.png", title=title, unit=unit)
        result = write_run_results(plan.recipe, base, result, plan.data, plan.work)
    plan.workers.barrier()
    return result


def _load_unsharded(plan: TrainingPlan, weights: dict[str, Tensor]) -> ModelBundle:
    """Load trained weights into a new model: a sharded one can neither be saved nor sampled."""
    base = load_prepared_base(plan.recipe)
    replies = generate_replies(plan.recipe.method.plain(base.model), base.renderer, plan.data.sample_dialogues)
    save_samples_before(plan.work, replies)
    load_trainable(base.model.module, weights)
    return base


def _with_samples(plan: TrainingPlan, base: ModelBundle, result: TrainingResult) -> TrainingResult:
    """Generate the replies after training."""
    start, dialogues = time.perf_counter(), plan.data.sample_dialogues
    after = generate_replies(plan.recipe.method.plain(base.model), base.renderer, dialogues)
    seconds = (time.perf_counter() - start) / len(after) if after else None
    return replace(result, samples=pair_samples(plan.work, dialogues, after), seconds_per_reply=seconds)


def write_run_results(
    recipe: Recipe, base: ModelBundle, result: TrainingResult, data: DatasetSplits | None, work: Path
) -> TrainingResult:
    """Write `result.json`, the card and the model folder; return the result with dtype and rounding error.

    Args:
        recipe: recipe with every setting resolved.
        base: the trained model.
        result: result of the training.
        data: examples of the run; None if no weights were trained.
        work: folder of the run's files.

    Raises:
        SaveFailed: the disk is full or not writable.
    """
    module = base.model.module.cpu()
    dtype = save_dtype(recipe, base)
    rounding_error = rounding_loss_share(module, work, dtype) if recipe.method.SAVES_WEIGHTS else None
    result = replace(result, saved_as=str(dtype).removeprefix("torch."), rounding_error=rounding_error)
    summary = json.dumps(summarize_result(recipe, result, data), indent=2, ensure_ascii=False)
    atomic_write(work / "result.json", summary + "\n")
    parameters = sum(parameter.numel() for parameter in module.parameters())
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad) if recipe.method.TRAINS_WEIGHTS else 0
    card = model_card(
        recipe,
        result,
        parameters=parameters,
        num_trainable=trainable,
        train_tokens=data.train.epoch_tokens if data else 0,
    )
    names = (loggers.METRICS_FILE, "loss.png", "result.json", loggers.TENSORBOARD_DIR, discriminator.FOLDER)
    files: dict[str, str | Path] = {name: work / name for name in names}
    files |= {"recipe.yaml": recipe.dump(), "README.md": card}
    recipe.method.save(output_dir(recipe), base, files, dtype)
    return result


def summarize_result(recipe: Recipe, result: TrainingResult, data: DatasetSplits | None) -> dict[str, Any]:
    """Return the result as JSON values, the content of `result.json`."""
    losses = {
        f"{split}_{when}": getattr(result, f"{split}_{when}")
        for split in ("valid", "test", "retention")
        for when in ("before", "after")
    }
    return {
        "steps": result.steps,
        "best_step": result.best_step,
        "stopped_early": result.stopped_early,
        "seconds": round(result.seconds, 2),
        "useful_tokens": result.useful_tokens,
        "rollbacks": result.rollbacks,
        **({} if result.stop_reason is None else {"stop_reason": result.stop_reason}),
        "saved_as": result.saved_as,
        "environment": {"turnwise": __version__, "torch": torch.__version__, "threads": torch.get_num_threads()},
        **({"rounding_error": round(result.rounding_error, 5)} if result.rounding_error is not None else {}),
        **_interpolation_summary(result),
        **(_data_summary(data) if data else {}),
        "loss": {name: loss for name, loss in losses.items() if loss is not None},
        **_perplexities(recipe, losses),
        **({"extra_metrics": _rounded(result.extra_metrics)} if result.extra_metrics else {}),
        **({"reply_metrics_before": _rounded(result.reply_metrics_before)} if result.reply_metrics_before else {}),
        "samples": [asdict(sample) for sample in result.samples],
    }


def _rounded(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in metrics.items()}


def _interpolation_summary(result: TrainingResult) -> dict[str, Any]:
    if not result.interpolations:
        return {}
    return {"alpha": result.alpha, "interpolations": [asdict(entry) for entry in result.interpolations]}


def _data_summary(data: DatasetSplits) -> dict[str, Any]:
    return {
        "train_tokens": data.train.epoch_tokens,
        "packing_efficiency": round(data.train.packing_efficiency, 4),
        "bad_rows": data.num_bad_rows,
        "max_seq_len": data.train.context.length,
        "truncation": asdict(data.truncation),
    }


def _perplexities(recipe: Recipe, losses: dict[str, float | None]) -> dict[str, dict[str, float]]:
    if recipe.objective.UNIT != "token":
        return {}
    return {"perplexity": {name: round(perplexity(loss), 3) for name, loss in losses.items() if loss is not None}}
