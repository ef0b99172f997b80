"""Writes the results of a run: `result.json`, the model card and the model folder."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from turnwise.core.files import atomic_write
from turnwise.training import loggers as watch
from turnwise.training.examples.dataset import DatasetSplits
from turnwise.training.hooks import TrainingResult, perplexity
from turnwise.training.launch.model_card import model_card
from turnwise.training.launch.run_dir import output_dir
from turnwise.training.launch.save_precision import rounding_loss_share, save_dtype
from turnwise.training.model_bundle import ModelBundle
from turnwise.training.recipe import Recipe


def write_run_results(
    recipe: Recipe, base: ModelBundle, result: TrainingResult, data: DatasetSplits | None, work: Path
) -> TrainingResult:
    """Write the model folder; return the result with dtype and rounding error. Raises `SaveFailed`."""
    module = base.model.module.cpu()
    dtype = save_dtype(recipe, base)
    rounding = rounding_loss_share(module, work, dtype) if recipe.method.SAVES_WEIGHTS else None
    result = replace(result, saved_as=str(dtype).removeprefix("torch."), rounding=rounding)
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
    names = (watch.METRICS_FILE, "loss.png", "result.json", watch.TENSORBOARD_DIR)
    files: dict[str, str | Path] = {name: work / name for name in names}
    files |= {"recipe.yaml": recipe.dump(), "README.md": card}
    recipe.method.save(output_dir(recipe), base, files, dtype)
    return result


def summarize_result(recipe: Recipe, result: TrainingResult, data: DatasetSplits | None) -> dict[str, Any]:
    """Return the result as JSON values, the content of `result.json`."""
    losses = {
        f"{split}_{when}": getattr(result, f"{split}_{when}")
        for split in ("valid", "test", "general")
        for when in ("before", "after")
    }
    return {
        "steps": result.steps,
        "best_step": result.best_step,
        "stopped_early": result.stopped_early,
        "seconds": round(result.seconds, 2),
        "useful_tokens": result.useful_tokens,
        "rollbacks": result.rollbacks,
        "saved_as": result.saved_as,
        **({"rounding": round(result.rounding, 5)} if result.rounding is not None else {}),
        **({"share": result.share, "mixes": [asdict(mix) for mix in result.mixes]} if result.mixes else {}),
        **(_data_summary(data) if data else {}),
        "loss": {name: loss for name, loss in losses.items() if loss is not None},
        **_perplexities(recipe, losses),
        **(
            {"figures": {name: round(value, 4) for name, value in result.extra_metrics.items()}}
            if result.extra_metrics
            else {}
        ),
        "samples": [asdict(sample) for sample in result.samples],
    }


def _data_summary(data: DatasetSplits) -> dict[str, Any]:
    return {
        "train_tokens": data.train.epoch_tokens,
        "fill": round(data.train.fill, 4),
        "skipped_rows": data.skipped,
        "row_length": data.train.context.length,
        "truncation": asdict(data.truncation),
    }


def _perplexities(recipe: Recipe, losses: dict[str, float | None]) -> dict[str, dict[str, float]]:
    if recipe.objective.UNIT != "token":
        return {}
    return {"perplexity": {name: round(perplexity(loss), 3) for name, loss in losses.items() if loss is not None}}
