"""One cycle of improvement: from feedback to a version that serves, or to the reason why it does not.

    select → replay → train → compare → decide

Each step is in the journal of the cycle, so that a killed cycle continues with the step that was interrupted, to the
same result. The serving model is not touched before the last step, which is one transaction of the registry.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from turnwise.app.model_versions.version_library import VersionLibrary
from turnwise.core.collected_answers import CollectedAnswerReader
from turnwise.core.directory_lock import DirectoryLocked, lock_directory
from turnwise.core.errors import SaveFailed, Unavailable
from turnwise.core.files import remove_remains_below
from turnwise.core.model_versions import ModelVersion, VersionState
from turnwise.core.plurals import pluralize
from turnwise.evaluation.gate.decision import decide
from turnwise.evaluation.gate.evidence import HELD_OUT, RETENTION, EvaluationFigures, figures_of
from turnwise.evaluation.gate.rules.negative_flips import NegativeFlipsRule
from turnwise.evaluation.gate.rules.safety import SafetyRule
from turnwise.evaluation.gate.rules_file import GateRules
from turnwise.evaluation.report import write_report
from turnwise.evaluation.scorecard import Scorecard
from turnwise.improve.build import build_model, interpolate_model
from turnwise.improve.comparison import HeldOut, RetentionMetric, measure_feedback, measure_forgetting
from turnwise.improve.cycle_folder import EXAMPLES_FILE, REPORT_FOLDER, CycleFolders
from turnwise.improve.example_file import read_examples, write_examples
from turnwise.improve.journal import Journal
from turnwise.improve.progress import CycleProgress, SilentProgress
from turnwise.improve.registration import add_version
from turnwise.improve.replay_file import ReplayFiles, read_dialogues, replay_files
from turnwise.improve.selection import Mask, select_answers
from turnwise.improve.settings import ImproveSettings
from turnwise.improve.splits import Proof, split_examples
from turnwise.improve.training_data import choose_stages, read_plan, write_alpha, write_training_data
from turnwise.models.model_folders import weights_digest

PROMOTED, REFUSED, NOTHING = "promoted", "refused", "nothing to learn"
DATA, MODEL = "data", "model"


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
        stop: polled while a model is trained; True ends the cycle, which the next run continues.
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

        Raises:
            Unavailable: another process runs a cycle of this model.
            SaveFailed: the disk is full or not writable; the next run continues with the step that failed.
            TurnwiseError: a step failed; the next run continues with it.
        """
        try:
            with lock_directory(self.folders.root):
                remove_remains_below(self.folders.root)
                last = self.folders.last()
                journal = last if last is not None and not last.is_complete else self._start(last)
                if not journal.is_complete:
                    self._continue(journal)
                return journal
        except DirectoryLocked as error:
            holder = "" if error.pid is None else f" (process {error.pid})"
            raise Unavailable(f"{self.model} is being improved by another process{holder}.") from error
        except OSError as error:
            raise SaveFailed(
                f"The cycle of {self.model} stopped: {error.strerror or error}. The next run continues it."
            ) from error

    def dry_run(self) -> dict[str, Any]:
        """What a cycle would learn from now. Nothing is written."""
        last = self.folders.last()
        since = 0.0 if last is None else last["started"]
        selection = select_answers(self.reader, self.model, since=since, mask=self.mask)
        stages = choose_stages(selection.examples, self.settings.tuning)
        return {**selection.as_dict(), "stages": {name: len(rows) for name, rows in stages.items()}}

    def _start(self, last: Journal | None) -> Journal:
        first = self.library.ensure_first(self.model)
        routing = self.library.registry.routing(self.model)
        serving = first if routing is None else routing.serving
        since = 0.0 if last is None else last["started"]
        return self.folders.create(
            model=self.model, started=time.time(), since=since, serving=serving.number, first=first.number
        )

    def _continue(self, journal: Journal) -> None:
        selection = self._step(journal, "select", "Read and check the feedback", self._select)
        if selection["num_new"] < self.settings.min_answers:
            new = pluralize(selection["num_new"], "new answer")
            journal.complete(NOTHING, f"There is feedback on {new}; a cycle needs {self.settings.min_answers}.")
            return
        examples = read_examples(journal.folder / EXAMPLES_FILE)
        train, proofs = split_examples(examples, self.settings.proof)
        if not choose_stages(train, self.settings.tuning) or not all(p.test and p.train for p in proofs):
            journal.complete(NOTHING, self._too_few(selection))
            return
        self._step(journal, "replay", "Collect replies of the first version", self._replay)
        self._step(journal, "train", "Train", lambda journal: self._train(journal, train, proofs))
        self._step(journal, "compare", "Compare with the serving version", lambda j: self._compare(j, proofs))
        self._step(journal, "decide", "Decide", self._decide)

    def _step(self, journal: Journal, name: str, description: str, function: Callable[[Journal], Any]) -> Any:
        if journal.result(name) is None:
            self.progress.on_step(name, description)
        return journal.run(name, lambda: function(journal))

    def _select(self, journal: Journal) -> dict[str, Any]:
        selection = select_answers(self.reader, self.model, since=journal["since"], mask=self.mask)
        write_examples(journal.folder / EXAMPLES_FILE, selection.examples)
        return selection.as_dict()

    def _too_few(self, selection: dict[str, Any]) -> str:
        tuning = self.settings.tuning
        kinds = ", ".join(f"{count} of the kind {kind}" for kind, count in selection["examples_by_kind"].items())
        return (
            f"Too few examples passed the checks ({kinds or 'none'}): a training needs {tuning.min_corrections} "
            f"corrections, or {tuning.min_preferences} preferences or ratings of each kind."
        )

    def _first_folder(self, journal: Journal) -> Path:
        return self.library.verified_folder(self.library.registry.get(self.model, journal["first"]))

    def _serving(self, journal: Journal) -> ModelVersion:
        return self.library.registry.get(self.model, journal["serving"])

    def _replay_files(self, journal: Journal) -> ReplayFiles:
        tuning = self.settings.tuning
        return replay_files(
            self._first_folder(journal), tuning.num_replay_replies, tuning.seed, self.folders.replay,
            lambda done, total: self.progress.on_count("replies", done, total),
        )  # fmt: skip

    def _replay(self, journal: Journal) -> dict[str, Any]:
        files = self._replay_files(journal)
        return {"train": str(files.train), "retention": str(files.retention)}

    def _train(self, journal: Journal, train: Sequence[Any], proofs: Sequence[Proof]) -> dict[str, Any]:
        first, replay = self._first_folder(journal), self._replay_files(journal)
        source = self.library.registry.get(self.model, journal["first"]).content.source
        runs = {MODEL: train} | {proof.name: proof.train for proof in proofs if proof.name != MODEL}
        stages = {}
        for name, examples in runs.items():
            data, out = journal.folder / f"{name}-{DATA}", journal.folder / name
            if not data.is_dir():
                write_training_data(
                    data, examples, base=source, base_sha256=weights_digest(first), replay=replay.train,
                    tuning=self.settings.tuning,
                )  # fmt: skip
            if not out.is_dir():
                self.progress.on_step("train", f"Train {'the version' if name == MODEL else f'the model for {name}'}")
            build_model(data, out, hooks=self.progress.trainer_hooks(name), stop=self.stop)
            stages[name] = list(read_plan(data).stages)
        return {"stages": stages}

    def _compare(self, journal: Journal, proofs: Sequence[Proof]) -> dict[str, Any]:
        """Choose the share of the way to the trained weights, compare, and store report and decision."""
        serving = self.library.verified_folder(self._serving(journal))
        retention = self._retention(journal)
        tried = []
        for alpha in self.settings.proof.alphas:
            model = self._interpolated(journal, MODEL, alpha)
            self.progress.on_step("compare", f"Measure what is forgotten at {alpha:.0%} of the way")
            forgetting = measure_forgetting(model, serving, retention, on_progress=self.progress.on_count)
            forgotten = decide(
                gate_evidence(forgetting.evaluation(metadata={}).scorecard), forgetting_rules(self.rules)
            )
            tried.append({"alpha": alpha, "reason": forgotten.reason, "has_passed": forgotten.has_passed})
            if forgotten.has_passed:
                break
        self.progress.on_step("compare", "Compare on answers with feedback")
        held_out = [HeldOut(self._interpolated(journal, proof.name, alpha), proof.test) for proof in proofs]
        feedback = measure_feedback(held_out, serving, on_progress=self.progress.on_count)
        evaluation = feedback.evaluation(
            forgetting, metadata={"model": self.model, "alpha": alpha, "serving": self._serving(journal).reference}
        )
        write_report(journal.folder / REPORT_FOLDER, evaluation)
        card = evaluation.scorecard
        decision = decide(
            gate_evidence(card), self.rules, cycle=1 + self._num_refused_since_promotion(journal)
        )  # fmt: skip
        return {"alpha": alpha, "tried": tried, "decision": decision.as_dict(), "figures": _figures(card)}

    def _interpolated(self, journal: Journal, name: str, alpha: float) -> Path:
        trained = journal.folder / name
        return interpolate_model(
            journal.folder / f"{name}-{DATA}", trained, alpha, trained.with_name(f"{name}-{alpha:g}")
        )

    def _retention(self, journal: Journal) -> list[Any]:
        paths = self.settings.proof.retention or (str(self._replay_files(journal).retention),)
        return [dialogue for path in paths for dialogue in read_dialogues(Path(path))]

    def _num_refused_since_promotion(self, journal: Journal) -> int:
        """Cycles before this one that were compared on the held-out answers without a promotion."""
        count = 0
        for earlier in self.folders.journals():
            if earlier["number"] < journal["number"] and earlier.result("compare") is not None:
                count = 0 if earlier.get("outcome") == PROMOTED else count + 1
        return count

    def _decide(self, journal: Journal) -> dict[str, Any]:
        compared = journal.result("compare")
        decision, alpha = compared["decision"], compared["alpha"]
        data = journal.folder / f"{MODEL}-{DATA}"
        write_alpha(data, alpha)
        version = add_version(
            self.library, self.model, self._interpolated(journal, MODEL, alpha), data,
            parent=journal["first"], scorecard={"figures": compared["figures"], "gate": decision},
            has_passed_gate=decision["has_passed"], reason=f"Cycle {journal['number']} trained it.",
        )  # fmt: skip
        outcome, reason = self._promote(journal, version, decision)
        journal.complete(outcome, reason, version=version.number)
        return {"version": version.number}

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


def forgetting_rules(rules: GateRules) -> GateRules:
    """The rules that need the measurement of forgetting only."""
    chosen = {
        name: rule
        for name, rule in rules.rules.items()
        if rule.evaluation == RETENTION or isinstance(rule, NegativeFlipsRule | SafetyRule)
    }
    return GateRules(rules.alpha, chosen)


def gate_evidence(card: Scorecard) -> dict[str, EvaluationFigures]:
    """The evaluations of the gate: all figures, and the likelihood of the first version's replies as its own."""
    figures = figures_of(card)
    rows = [
        row.model_copy(update={"name": "bits_per_byte"}) for row in figures.rows if row.name == RetentionMetric.NAME
    ]
    return {HELD_OUT: figures, RETENTION: EvaluationFigures(rows=tuple(rows))}


def _figures(card: Scorecard) -> dict[str, Any]:
    """Values of the serving and of the new version by metric, for tables and curves."""
    rows = [row for row in card.as_dict()["rows"] if row["base_value"] is not None]
    keys = ("label", "value", "base_value", "difference", "difference_interval", "num_dialogues")
    return {row["name"]: {key: row[key] for key in keys} for row in rows}
