"""One cycle of improvement: from feedback to a version that serves, or to the reason why it does not.

    select → replay → train → compare → decide

Each step is in the journal of the cycle, so that a killed cycle continues with the step that was interrupted, to the
same result. The serving model is not touched before the last step, which is one transaction of the registry.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from turnwise.app.model_versions.base_versions import can_load, ensure_base, find_base
from turnwise.app.model_versions.version_library import VersionLibrary
from turnwise.app.model_versions.version_reference import not_serving_message
from turnwise.core.collected_answers import CollectedAnswerReader
from turnwise.core.directory_lock import DirectoryLocked, lock_directory
from turnwise.core.errors import NotFound, SaveFailed, Unavailable
from turnwise.core.files import remove_remains_below
from turnwise.core.model_versions import ModelVersion
from turnwise.evaluation.gate.rules_file import GateRules
from turnwise.improve.cycle_folder import (
    EXAMPLES_FILE,
    CycleFolders,
    count_looks,
    delete_models,
    last_training,
)
from turnwise.improve.cycle_models import CycleModels
from turnwise.improve.cycle_training import train_models
from turnwise.improve.example_file import read_examples, write_examples
from turnwise.improve.gated_comparison import compare_with_serving
from turnwise.improve.journal import ABANDONED, NOTHING, Journal
from turnwise.improve.masking import Mask
from turnwise.improve.preparation import Preparation, prepare, seen_questions
from turnwise.improve.progress import CycleProgress, SilentProgress, StoppableProgress
from turnwise.improve.promotion import complete_cycle
from turnwise.improve.replay_file import ReplayFiles, read_dialogues, replay_files
from turnwise.improve.retention_replies import retention_replies
from turnwise.improve.schedule import stop_after
from turnwise.improve.selection import select_answers
from turnwise.improve.settings import ImproveSettings

TRAINING_QUESTIONS = " The questions are those of the training, typed differently."
TRAINING_SETTINGS = {"min_answers", "masks_personal_data", "public_texts", "tuning", "proof"}  # that a cycle keeps


@dataclass(frozen=True)
class ImproveCycle:
    """Runs cycles for one served model.

    Attributes:
        model: served model name.
        library: versions of models.
        reader: collected answers.
        rules: rules of the gate.
        settings: settings.
        folders: folders of the cycles.
        mask: replaces personal data in a dialogue; None: nothing is masked.
        progress: receives the progress.
        stop: polled after every training step, reply and query; True ends the cycle, which the next run continues. So
            does the time limit of the settings.
    """

    model: str
    library: VersionLibrary
    reader: CollectedAnswerReader
    rules: GateRules
    settings: ImproveSettings
    folders: CycleFolders
    mask: Mask | None = None
    progress: CycleProgress = field(default_factory=SilentProgress)
    stop: Callable[[], bool] = lambda: False

    def run(self) -> Journal:
        """Continue an interrupted cycle, or run a new one, and return its journal.

        A cycle that was interrupted before the comparison is given up if the settings of the training have changed: a
        part of its models would have been trained otherwise, or on the examples that they are compared on. So is a
        cycle whose base version was updated or whose serving version was lost: it could not be completed.

        Raises:
            Unavailable: another process runs a cycle of this model.
            NotFound: no version of the model serves.
            SaveFailed: the disk is full or not writable; the next run continues with the step that failed.
            TrainingInterrupted: `stop` or the time limit ended a step; the next run continues with it.
            TurnwiseError: a step failed; the next run continues with it.
        """
        stop = stop_after(self.settings.limits.minutes, self.stop)
        limited = replace(self, stop=stop, progress=StoppableProgress(self.progress, stop))
        try:
            self.folders.create_root()
            with lock_directory(self.folders.root):
                remove_remains_below(self.folders.root)
                last = self.folders.last()
                base = ensure_base(self.library, self.model)
                if last is not None and not last.is_complete and (problem := self._obstacle(last, base)):
                    last.complete(ABANDONED, problem)
                journal = last if last is not None and not last.is_complete else self._start(base)
                if last is not None and last.is_complete:
                    delete_models(last)  # also if a run was killed before it did
                limited._continue(journal)
                delete_models(journal)
                return journal
        except DirectoryLocked as error:
            holder = "" if error.pid is None else f" (process {error.pid})"
            raise Unavailable(f"{self.model} is being improved by another process{holder}.") from error
        except OSError as error:
            raise SaveFailed(
                f"The cycle of {self.model} stopped: {error.strerror or error}. The next run continues it."
            ) from error

    def dry_run(self) -> dict[str, Any]:
        """What a new cycle would learn from now. Nothing is written."""
        selection = select_answers(self.reader, self.model, since=self._last_training(), mask=self.mask)
        routing = self.library.registry.routing(self.model)
        seen = frozenset() if routing is None else self._seen_questions(routing.serving.number)
        plan = prepare(selection.examples, selection.num_new, self.settings, seen)
        return {**selection.as_dict(), "stages": plan.stages, "obstacle": plan.obstacle}

    def last_start(self) -> float:
        """Start of the last cycle, as Unix time in seconds; 0 if none trained from the present base version."""
        last, base = self.folders.last(), find_base(self.library, self.model)
        return 0.0 if last is None or base is None or last.get("first") != base.number else float(last["started"])

    def _obstacle(self, journal: Journal, base: ModelVersion) -> str:
        """Why an interrupted cycle cannot be continued, as a sentence; empty if it can."""
        if journal["first"] != base.number:
            return f"{base.reference} became the version that trainings start from before it was complete."
        if journal.result("compare") is not None:
            return ""
        serving = CycleModels(self.model, self.library, journal).serving
        if not can_load(self.library, serving):
            return f"{serving.reference}, which it compares with, cannot be loaded any more."
        if journal.get("settings") != self._training_settings():
            return "The settings were changed before it was complete."
        return ""

    def _training_settings(self) -> dict[str, Any]:
        return self.settings.model_dump(mode="json", include=TRAINING_SETTINGS)

    def _last_training(self) -> float:
        base = find_base(self.library, self.model)
        return last_training(self.folders.journals(), None if base is None else base.number)

    def _seen_questions(self, serving: int) -> frozenset[float]:
        """Positions of the questions that the serving version was trained on."""
        return seen_questions(next((j for j in self.folders.journals() if j.get("version") == serving), None))

    def _start(self, base: ModelVersion) -> Journal:
        routing = self.library.registry.routing(self.model)
        if routing is None:
            raise NotFound(not_serving_message(self.model))
        self.library.verified_folder(routing.serving)  # now, and not after hours of training
        return self.folders.create(
            model=self.model, started=time.time(), since=self._last_training(), serving=routing.serving.number,
            first=base.number, settings=self._training_settings(),
        )  # fmt: skip

    def _continue(self, journal: Journal) -> None:
        models = CycleModels(self.model, self.library, journal)
        if journal.result("compare") is None:
            selection = self._step(journal, "select", "Read and check the feedback", lambda: self._select(journal))
            examples = read_examples(journal.folder / EXAMPLES_FILE)
            seen = self._seen_questions(journal["serving"])
            plan = prepare(examples, selection["num_new"], self.settings, seen)
            if plan.obstacle is not None:
                journal.complete(NOTHING, plan.obstacle)
                return
            self._step(journal, "replay", "Collect replies of the first version", lambda: self._replay(models))
            self._step(journal, "train", "Train", lambda: self._train(models, plan))
            self._step(journal, "compare", "Compare with the serving version", lambda: self._compare(models, plan))
        self.progress.on_step("decide", "Decide")
        complete_cycle(models, canary_share=self.settings.canary_share)

    def _step(self, journal: Journal, name: str, description: str, function: Callable[[], Any]) -> Any:
        if journal.result(name) is None:
            self.progress.on_step(name, description)
        return journal.run(name, function)

    def _select(self, journal: Journal) -> dict[str, Any]:
        selection = select_answers(self.reader, self.model, since=journal["since"], mask=self.mask)
        write_examples(journal.folder / EXAMPLES_FILE, selection.examples)
        return selection.as_dict()

    def _replay(self, models: CycleModels) -> dict[str, Any]:
        files = self._replay_files(models)
        return {"train": str(files.train), "retention": str(files.retention)}

    def _train(self, models: CycleModels, plan: Preparation) -> dict[str, Any]:
        replay = self._replay_files(models).train
        stages = train_models(
            models, plan, replay, self.settings.tuning, self.settings.proof,
            progress=self.progress, stop=self.stop,
        )  # fmt: skip
        return {"stages": stages}

    def _compare(self, models: CycleModels, plan: Preparation) -> dict[str, Any]:
        proof = self.settings.proof
        if proof.retention:
            retention = [dialogue for path in proof.retention for dialogue in read_dialogues(Path(path))]
        else:
            report = partial(self.progress.on_count, "replies inside the scope")
            replies = self._replay_files(models).retention
            retention = retention_replies(models, replies, self.settings.tuning.seed, report)
        compared = compare_with_serving(
            models, plan.proofs, retention, self.rules, proof.alphas,
            num_looks=self._num_looks(models.journal), progress=self.progress,
        )  # fmt: skip
        if plan.has_training_questions:
            compared["decision"]["reason"] += TRAINING_QUESTIONS
        return compared

    def _num_looks(self, journal: Journal) -> int:
        """Cycles before this one that were compared on the held-out answers since a version of a cycle served."""
        events = self.library.registry.events(self.model)
        served = {event.version for event in events if event.state == "serving"}
        earlier = (before for before in self.folders.journals() if before["number"] < journal["number"])
        return count_looks(earlier, served)

    def _replay_files(self, models: CycleModels) -> ReplayFiles:
        """Replies of the first version; they are generated if they are missing."""
        tuning, report = self.settings.tuning, partial(self.progress.on_count, "replies")
        return replay_files(
            models.verified_first(),
            tuning.num_replay_replies,
            tuning.seed,
            self.folders.replay,
            report,
            is_trained_on=tuning.replay_ratio > 0,
        )
