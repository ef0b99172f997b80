"""The training of a cycle: the version, and the models of its proofs."""

from collections.abc import Callable, Sequence
from pathlib import Path

from turnwise.improve.build import build_model
from turnwise.improve.cycle_models import CycleModels
from turnwise.improve.preparation import Preparation
from turnwise.improve.progress import CycleProgress
from turnwise.improve.settings import ProofSettings, TuningSettings
from turnwise.improve.splits import VERSION
from turnwise.improve.training_data import StageName, read_plan, write_training_data
from turnwise.improve.training_examples import TrainingExample
from turnwise.models.model_folders import weights_digest


def train_models(
    models: CycleModels,
    plan: Preparation,
    replay: Path,
    tuning: TuningSettings,
    proof: ProofSettings,
    *,
    progress: CycleProgress,
    stop: Callable[[], bool],
) -> dict[str, list[StageName]]:
    """Train the models that are not trained yet, and return the stages of each by its name.

    Args:
        models: models of the cycle.
        plan: examples and stages.
        replay: file of replies of the first version.
        tuning: how to train.
        proof: whether the models have scopes.
        progress: receives the progress.
        stop: polled after every training step; True ends the training at a checkpoint.

    Raises:
        TrainingInterrupted: `stop` ended a training; the next call continues it.
    """
    base_sha256 = weights_digest(models.verified_first())
    runs: dict[str, Sequence[TrainingExample]] = {VERSION: plan.train}
    runs |= {proof.name: proof.train for proof in plan.proofs}
    stages: dict[str, list[StageName]] = {}
    for name, examples in runs.items():
        data, out = models.training_data(name), models.trained(name)
        if not data.is_dir():
            write_training_data(
                data, examples, base=models.first.content.source, base_sha256=base_sha256, replay=replay,
                tuning=tuning, only=plan.stages, has_scope=proof.scope,
            )  # fmt: skip
        if not out.is_dir():
            progress.on_step("train", f"Train {'the version' if name == VERSION else f'the model for {name}'}")
        build_model(data, out, hooks=progress.trainer_hooks(name), stop=stop)
        stages[name] = list(read_plan(data).stages)
    return stages
