"""A hook that writes the events of a run for programs that watch it, with replies of the model at every validation."""

import math
import time
from typing import TYPE_CHECKING

from turnwise.core.event_log import EventLog
from turnwise.training.hooks import StepReport, TrainerHook, ValidationReport

if TYPE_CHECKING:
    from turnwise.training.examples.dataset import DatasetSplits
    from turnwise.training.launch.preflight import PreflightReport
    from turnwise.training.plan import TrainingPlan
    from turnwise.training.recipe import Recipe

MAX_STEP_EVENTS = 1000  # per run; steps in between are averaged
MAX_SAMPLE_SHARE = 0.1  # of the time of the run, for replies


class EventHook(TrainerHook):
    """Writes an event for the data, the plan, steps and validations.

    Replies are generated for the same held-out dialogues each time. They are left out where they would take more than a
    tenth of the time since the start; those of the first validation never are.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._plan: TrainingPlan | None = None
        self._steps: list[StepReport] = []
        self._steps_per_event = 1
        self._start_time = time.monotonic()
        self._sample_seconds = 0.0

    def on_replay(self, count: int, total: int) -> None:
        """Write the progress of the replies for replay."""
        self._log.write_progress("replay", count, total)

    def on_data(self, data: "DatasetSplits") -> None:
        """Write the size of each split."""
        splits = (("train", data.train), ("valid", data.valid), ("test", data.test))
        self._log.write(
            "data",
            examples={name: len(split) for name, split in splits},
            tokens={name: split.tokens for name, split in splits},
            bad_rows=data.num_bad_rows,
        )

    def on_reference(self, count: int, total: int) -> None:
        """Write the progress of the reference model."""
        self._log.write_progress("reference", count, total)

    def on_preflight(self, recipe: "Recipe", report: "PreflightReport") -> None:
        """Write the size, the expected time and the memory of the run."""
        training = recipe.training
        steps = training.max_steps or max(1, round(report.rows_per_epoch * training.epochs / training.batch_size))
        self._log.write(
            "plan",
            steps=steps,
            tokens=round(steps * training.batch_size * report.tokens_per_row),
            seconds=report.seconds(steps, training.batch_size),
            tokens_per_second=report.tokens_per_second,
            memory=report.peak_memory,
            parameters=report.num_parameters,
            trainable=report.num_trainable,
            learning_rate=training.learning_rate,
            batch_size=training.batch_size,
        )

    def on_plan(self, plan: "TrainingPlan") -> None:
        """Keep the model and the dialogues for the replies."""
        self._plan = plan

    def on_train_begin(self, *, total_steps: int, step: int) -> None:
        """Write how many steps there are. A reader drops what it has of later steps than `step`."""
        self._steps = []
        self._steps_per_event = max(1, math.ceil(total_steps / MAX_STEP_EVENTS))
        self._log.write("start", step=step, total_steps=total_steps)

    def on_step_end(self, report: StepReport) -> None:
        """Write the mean of the last steps."""
        self._steps.append(report)
        if len(self._steps) >= self._steps_per_event:
            self._write_steps()

    def on_evaluate(self, report: ValidationReport) -> None:
        """Write the loss, and replies of the model as it is now."""
        self._write_steps()
        self._log.write("validation", step=report.step, loss=report.loss, best=report.is_best)
        elapsed = time.monotonic() - self._start_time
        if self._plan is not None and self._sample_seconds <= MAX_SAMPLE_SHARE * elapsed:
            self._write_samples(self._plan, report.step)

    def on_train_end(self) -> None:
        """Write the steps that are left, and that the training has ended."""
        self._write_steps()
        self._log.write("trained")

    def _write_steps(self) -> None:
        if not self._steps:
            return
        reports, self._steps = self._steps, []
        seconds = sum(report.seconds for report in reports)
        self._log.write(
            "step",
            step=reports[-1].step,
            loss=sum(report.loss for report in reports) / len(reports),
            learning_rate=reports[-1].learning_rate,
            steps_per_second=len(reports) / seconds if seconds else None,
            tokens_per_second=sum(report.useful_tokens for report in reports) / seconds if seconds else None,
        )

    def _write_samples(self, plan: "TrainingPlan", step: int) -> None:
        from turnwise.training.distributed.sharding import is_sharded
        from turnwise.training.launch.reply_samples import generate_replies, question_and_reply

        dialogues = plan.data.sample_dialogues
        if is_sharded(plan.base.model.module) or not dialogues:
            return
        start = time.monotonic()
        replies = generate_replies(plan.recipe.method.plain(plan.base.model), plan.base.renderer, dialogues)
        self._sample_seconds += time.monotonic() - start
        questions = map(question_and_reply, dialogues)
        samples = [
            {"question": question, "reference": reference, "reply": reply}
            for (question, reference), reply in zip(questions, replies, strict=False)
        ]
        self._log.write("samples", step=step, samples=samples)
