"""One cycle of improvement: from feedback to a version that serves, or to the reason why it does not.

    select → replay → train → compare → decide

Each step is in the journal of the cycle, so that a killed cycle continues with the step that was interrupted, to the
same result. The serving model is not touched before the last step, which is one transaction of the registry.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from turnwise.app.model_versions.base_versions import can_load, ensure_base, find_base
from turnwise.app.model_versions.version_library import VersionLibrary
from turnwise.app.model_versions.version_reference import not_serving_message
from turnwise.core.collected_answers import CollectedAnswerReader
from turnwise.core.directory_lock import DirectoryLocked, lock_directory
from turnwise.core.errors import NotFound, SaveFailed, Unavailable
from turnwise.core.files import remove_remains_below
from turnwise.core.model_versions import ModelVersion, VersionState
from turnwise.evaluation.gate.decision import decide
from turnwise.evaluation.gate.rules_file import GateRules
from turnwise.evaluation.report import write_report
from turnwise.improve.build import build_model, interpolate_model
from turnwise.improve.comparison import HeldOut, measure_feedback, measure_forgetting
from turnwise.improve.cycle_folder import (
    EXAMPLES_FILE,
    REPORT,
    CycleFolders,
    count_looks,
    delete_models,
    last_training,
)
from turnwise.improve.cycle_gate import comparison_figures, forgetting_rules, gate_evidence, stored_scorecard
from turnwise.improve.example_file import read_examples, write_examples
from turnwise.improve.journal import ABANDONED, NOTHING, PROMOTED, REFUSED, Journal
from turnwise.improve.preparation import Preparation, prepare, seen_questions
from turnwise.improve.progress import CycleProgress, SilentProgress
from turnwise.improve.registration import add_version
from turnwise.improve.replay_file import ReplayFiles, read_dialogues, replay_files
from turnwise.improve.schedule import stop_after
from turnwise.improve.selection import Mask, select_answers
from turnwise.improve.settings import ImproveSettings
from turnwise.improve.splits import VERSION, Proof
from turnwise.improve.training_data import StageName, read_plan, write_alpha, write_training_data
from turnwise.improve.training_examples import TrainingExample
from turnwise.models.model_folders import weights_digest
from turnwise.training.stop_signals import TrainingInterrupted

DATA = "data"
TRAINING_SETTINGS = {"min_answers", "masks_personal_data", "tuning", "proof"}  # that a cycle keeps


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
        limited = replace(self, stop=stop_after(self.settings.limits.minutes, self.stop))
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

    def _count(self, what: str, done: int, total: int) -> None:
        """Report progress, and stop if asked to: replies and comparisons take minutes, as trainings do."""
        if self.stop():
            raise TrainingInterrupted
        self.progress.on_count(what, done, total)

    def _obstacle(self, journal: Journal, base: ModelVersion) -> str:
        """Why an interrupted cycle cannot be continued, as a sentence; empty if it can."""
        if journal["first"] != base.number:
            return f"{base.reference} became the version that trainings start from before it was complete."
        if journal.result("compare") is not None:
            return ""
        if not can_load(self.library, self._serving(journal)):
            return f"{self._serving(journal).reference}, which it compares with, cannot be loaded any more."
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
        if journal.result("compare") is None:
            selection = self._step(journal, "select", "Read and check the feedback", self._select)
            examples = read_examples(journal.folder / EXAMPLES_FILE)
            seen = self._seen_questions(journal["serving"])
            plan = prepare(examples, selection["num_new"], self.settings, seen)
            if plan.obstacle is not None:
                journal.complete(NOTHING, plan.obstacle)
                return
            self._step(journal, "replay", "Collect replies of the first version", self._replay)
            self._step(journal, "train", "Train", lambda journal: self._train(journal, plan))
            self._step(journal, "compare", "Compare with the serving version", lambda j: self._compare(j, plan.proofs))
        self.progress.on_step("decide", "Decide")
        self._decide(journal)

    def _step(self, journal: Journal, name: str, description: str, function: Callable[[Journal], Any]) -> Any:
        if journal.result(name) is None:
            self.progress.on_step(name, description)
        return journal.run(name, lambda: function(journal))

    def _select(self, journal: Journal) -> dict[str, Any]:
        selection = select_answers(self.reader, self.model, since=journal["since"], mask=self.mask)
        write_examples(journal.folder / EXAMPLES_FILE, selection.examples)
        return selection.as_dict()

    def _first_folder(self, journal: Journal) -> Path:
        return self.library.verified_folder(self.library.registry.get(self.model, journal["first"]))

    def _serving(self, journal: Journal) -> ModelVersion:
        return self.library.registry.get(self.model, journal["serving"])

    def _replay_files(self, journal: Journal) -> ReplayFiles:
        tuning = self.settings.tuning
        return replay_files(
            self._first_folder(journal), tuning.num_replay_replies, tuning.seed, self.folders.replay,
            lambda done, total: self._count("replies", done, total),
        )  # fmt: skip

    def _replay(self, journal: Journal) -> dict[str, Any]:
        files = self._replay_files(journal)
        return {"train": str(files.train), "retention": str(files.retention)}

    def _train(self, journal: Journal, plan: Preparation) -> dict[str, Any]:
        first, replay = self._first_folder(journal), self._replay_files(journal)
        source = self.library.registry.get(self.model, journal["first"]).content.source
        runs: dict[str, Sequence[TrainingExample]] = {VERSION: plan.train}
        runs |= {proof.name: proof.train for proof in plan.proofs}
        stages: dict[str, list[StageName]] = {}
        for name, examples in runs.items():
            data, out = journal.folder / f"{name}-{DATA}", journal.folder / name
            if not data.is_dir():
                write_training_data(
                    data, examples, base=source, base_sha256=weights_digest(first), replay=replay.train,
                    tuning=self.settings.tuning, only=plan.stages,
                )  # fmt: skip
            if not out.is_dir():
                self.progress.on_step("train", f"Train {'the version' if name == VERSION else f'the model for {name}'}")
            build_model(data, out, hooks=self.progress.trainer_hooks(name), stop=self.stop)
            stages[name] = list(read_plan(data).stages)
        return {"stages": stages}

    def _compare(self, journal: Journal, proofs: Sequence[Proof]) -> dict[str, Any]:
        """Choose the share of the way to the trained weights, compare, and store report and decision."""
        serving = self.library.verified_folder(self._serving(journal))
        retention = self._retention(journal)
        attempts = []
        for alpha in self.settings.proof.alphas:
            model = self._interpolate(journal, VERSION, alpha)
            self.progress.on_step("compare", f"Measure what is forgotten at {alpha:.0%} of the way")
            forgetting = measure_forgetting(
                model, serving, self._first_folder(journal), retention, on_progress=self._count
            )
            forgetting_decision = decide(
                gate_evidence(forgetting.evaluation(metadata={}).scorecard), forgetting_rules(self.rules)
            )
            attempts.append(
                {"alpha": alpha, "reason": forgetting_decision.reason, "has_passed": forgetting_decision.has_passed}
            )
            if forgetting_decision.has_passed:
                break
        self.progress.on_step("compare", "Compare on answers with feedback")
        held_out = [HeldOut(self._interpolate(journal, proof.name, alpha), proof.test) for proof in proofs]
        feedback = measure_feedback(held_out, serving, on_progress=self._count)
        evaluation = feedback.evaluation(
            forgetting, metadata={"model": self.model, "alpha": alpha, "serving": self._serving(journal).reference}
        )
        write_report(journal.folder / REPORT, evaluation)
        card = evaluation.scorecard
        decision = decide(
            gate_evidence(card), self.rules, cycle=1 + self._num_refused_since_promotion(journal)
        )  # fmt: skip
        figures = comparison_figures(card)
        return {"alpha": alpha, "attempts": attempts, "decision": decision.as_dict(), "figures": figures}

    def _interpolate(self, journal: Journal, name: str, alpha: float) -> Path:
        trained = journal.folder / name
        return interpolate_model(
            journal.folder / f"{name}-{DATA}", trained, alpha, trained.with_name(f"{name}-{alpha:g}")
        )

    def _retention(self, journal: Journal) -> list[Any]:
        paths = self.settings.proof.retention or (str(self._replay_files(journal).retention),)
        return [dialogue for path in paths for dialogue in read_dialogues(Path(path))]

    def _num_refused_since_promotion(self, journal: Journal) -> int:
        events = self.library.registry.events(self.model)
        served = {event.version for event in events if event.state == "serving"}
        earlier = (before for before in self.folders.journals() if before["number"] < journal["number"])
        return count_looks(earlier, served)

    def _decide(self, journal: Journal) -> None:
        compared = journal.result("compare")
        decision, alpha = compared["decision"], compared["alpha"]
        data = journal.folder / f"{VERSION}-{DATA}"
        write_alpha(data, alpha)
        model = self._interpolate(journal, VERSION, alpha)
        version = add_version(
            self.library, self.model, model, data,
            parent=journal["first"], scorecard=stored_scorecard(self.model, model, compared),
            has_passed_gate=decision["has_passed"], reason=f"Cycle {journal['number']} trained it.",
        )  # fmt: skip
        outcome, reason = self._promote(journal, version, decision)
        journal.complete(outcome, reason, last_step={"decide": {"version": version.number}}, version=version.number)

    def _promote(self, journal: Journal, version: ModelVersion, decision: dict[str, Any]) -> tuple[str, str]:
        if not decision["has_passed"]:
            return REFUSED, decision["reason"]
        routing = self.library.registry.routing(self.model)
        if routing is not None and routing.serving.number not in (journal["serving"], version.number):
            return REFUSED, f"Refused: {routing.serving.reference} serves since the comparison was made."
        share = self.settings.canary_share
        state: VersionState = "canary" if share else "serving"
        if self.library.registry.get(self.model, version.number).state != state:
            self.library.change_state(version, state, actor="gate", reason=decision["reason"], share=share)
        return PROMOTED, decision["reason"]
