"""Runs an evaluation: opens the response cache, the systems and the judge, and writes the report."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from turnwise.app.evaluation_cache import open_response_cache
from turnwise.app.systems_under_test import system_opener
from turnwise.core.errors import SaveFailed
from turnwise.core.inference import Quantization
from turnwise.core.messages import Conversation
from turnwise.data.read_options import ReadOptions
from turnwise.evaluation.evaluate import Evaluation, OnEvaluationProgress, OnPlan, evaluate
from turnwise.evaluation.metric import Metric

DEFAULT_MAX_TOKENS = 128  # length limit of an answer
SWEEP_TEMPERATURES = (0.0, 0.3, 0.7, 1.0, 1.3)


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """What is evaluated, and how.

    Attributes:
        model: the model or baseline; None is the bundled model.
        base: the system to compare with; None compares with nothing.
        dialogues: held-out dialogues.
        metrics: the metrics.
        sampling: generation parameters that replace the models' defaults.
        repeats: number of answers per history.
        seed: seed of all random choices except sampling.
        sweep_temperatures: also measure answers at several temperatures.
        quantize: quantization of the model's weights; the base stays as it is.
        threads: processor threads.
        read_options: how files of baselines are read.
        serving: more arguments of `open_chat_service` for the model, such as `format` and `context_policy`.
        base_serving: the same for the base; None: those of the model.
        use_cache: reuse responses of earlier evaluations.
        judge_url: base URL of the judge's endpoint; None asks no judge.
        judge_model: the name of the judge model.
        metadata: more that is needed to reproduce the evaluation.
        report_dir: folder for the report; None writes none.
        loss_curve: step, training and validation loss, for the report of a training run.
    """

    model: str | None
    base: str | None
    dialogues: Sequence[Conversation]
    metrics: Sequence[Metric]
    sampling: Mapping[str, Any] = field(default_factory=dict)
    repeats: int = 3
    seed: int = 0
    sweep_temperatures: bool = False
    quantize: Quantization | None = None
    threads: int | None = None
    read_options: ReadOptions | None = None
    serving: Mapping[str, Any] = field(default_factory=dict)
    base_serving: Mapping[str, Any] | None = None
    use_cache: bool = True
    judge_url: str | None = None
    judge_model: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    report_dir: Path | None = None
    loss_curve: Sequence[tuple[int, float, float | None]] = ()


def run_evaluation(
    config: EvaluationConfig,
    *,
    on_plan: OnPlan = lambda _: None,
    on_progress: OnEvaluationProgress = lambda *_: None,
) -> Evaluation:
    """Run an evaluation and write its report.

    Args:
        config: the evaluation.
        on_plan: called once with the samples of each metric, before the first query.
        on_progress: receives the progress.

    Raises:
        InvalidData: there is nothing to evaluate.
        UserError: a system cannot be opened, or the judge does not answer.
        SaveFailed: the report cannot be written.
    """
    from turnwise.evaluation.llm_judge import LlmJudge
    from turnwise.evaluation.report import write_report

    sampling = {"max_tokens": DEFAULT_MAX_TOKENS, **config.sampling}
    with open_response_cache(is_persistent=config.use_cache) as cache:
        judge = None if config.judge_url is None else LlmJudge(config.judge_url.rstrip("/"), config.judge_model, cache)
        open_model = system_opener(
            config.model, config.base, cache, sampling,
            read_options=config.read_options, quantize=config.quantize, threads=config.threads,
            serving=config.serving,
        )  # fmt: skip
        open_base = None
        if config.base is not None:
            open_base = system_opener(
                config.base, config.model, cache, sampling,
                read_options=config.read_options, threads=config.threads,
                serving=config.serving if config.base_serving is None else config.base_serving,
            )  # fmt: skip
        evaluation = evaluate(
            open_model,
            open_base,
            config.dialogues,
            config.metrics,
            seeds=range(config.repeats),
            seed=config.seed,
            temperatures=SWEEP_TEMPERATURES if config.sweep_temperatures else (),
            judge=judge,
            metadata=config.metadata,
            on_plan=on_plan,
            on_progress=on_progress,
        )
    if config.report_dir is not None:
        write_report(config.report_dir, evaluation, loss_curve=config.loss_curve)
    return evaluation


def check_report_dir(folder: Path) -> None:
    """Check that a report can be written to a folder, without creating it.

    Raises:
        SaveFailed: the folder, or the nearest existing folder above it, cannot be written to.
    """
    try:
        nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    except OSError as error:
        raise SaveFailed(f"No report can be written to {folder}: {error.strerror or error}.") from error
    if not nearest.is_dir():
        raise SaveFailed(f"No report can be written to {folder}: {nearest} is a file.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise SaveFailed(f"No report can be written to {folder}: {nearest} is not writable.")
