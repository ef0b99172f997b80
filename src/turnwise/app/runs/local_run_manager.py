"""Starts trainings and evaluations as processes of this machine (implements `core.runs.RunManager`)."""

import re
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from turnwise.app.runs import run_commands
from turnwise.app.runs.rated_answers import RATED_ANSWERS_FILE, RatedAnswers
from turnwise.app.runs.run_folder import EVENTS, MODEL, RunFolder, RunRecord
from turnwise.app.runs.run_models import PREFIX, find_run_model, model_path, run_models
from turnwise.app.runs.run_queue import DELETED, NICENESS, PLAN, RunQueue, half_of_the_processors
from turnwise.app.runs.run_results import read_result
from turnwise.app.runs.training_plan import run_plan
from turnwise.core.datasets import DatasetLibrary
from turnwise.core.errors import InvalidParameter, NotFound, RunConflict, Unavailable
from turnwise.core.event_log import read_events
from turnwise.core.files import atomic_directory
from turnwise.core.runs import (
    MAX_TITLE_CHARS,
    EvaluationOptions,
    Run,
    RunKind,
    RunModel,
    RunProgress,
    TrainingOptions,
)

MAX_WAITING = 20  # runs in the line
KILL_AFTER_SECONDS = 5.0  # a second stop after this time kills the process
_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9]{6}[0-9a-f]{2}")

LoadModel = Callable[[Path, str], str]
Prepare = Callable[[Path, Path], Sequence[str]]  # (folder to write, path that it will have) → command


class LocalRunManager:
    """The runs below a folder. Call `close` at the end; the runs go on."""

    def __init__(
        self,
        root: Path,
        datasets: DatasetLibrary,
        *,
        answers: RatedAnswers | None = None,
        load_model: LoadModel | None = None,
        num_parallel: int = 1,
        threads: int | None = None,
        niceness: int = NICENESS,
        program: str = "turnwise",
    ) -> None:
        """Open the runs, and start those that wait.

        Args:
            root: folder of all runs.
            datasets: the data sets.
            answers: rated answers; None: the server stores none.
            load_model: loads a model folder into the server by a name, and returns the served name; None: it cannot.
            num_parallel: runs at the same time.
            threads: processor threads of a run; None: half of the processors.
            niceness: niceness of its process.
            program: module that its command is for.
        """
        self._root, self._datasets, self._answers, self._load_model = root, datasets, answers, load_model
        self._threads, self._plan_lock = threads or half_of_the_processors(), threading.Lock()
        self._is_closed = threading.Event()
        self._served: dict[str, str] = {}
        self._serve_lock = threading.Lock()
        self._queue = RunQueue(
            root, num_parallel=num_parallel, threads=self._threads, niceness=niceness, program=program
        )
        self._queue.start()

    @property
    def can_serve(self) -> bool:
        """True if models can be loaded into the server."""
        return self._load_model is not None

    def close(self) -> None:
        """Start no more runs, and end a plan that is being made. Runs that run go on."""
        self._is_closed.set()
        self._queue.close()

    def list(self) -> Sequence[Run]:
        """All runs, the newest first."""
        runs = []
        for folder in reversed(self._queue.folders()):
            try:
                runs.append(_read_run(folder))
            except NotFound:  # deleted meanwhile
                continue
        return runs

    def get(self, id: str) -> Run:
        """A run."""
        return _read_run(self._folder(id))

    def models(self) -> Sequence[RunModel]:
        """Installed chat models and models of runs."""
        return run_models(self._queue.folders())

    def dataset_names(self) -> Sequence[str]:
        """The data sets."""
        return [dataset.name for dataset in self._datasets.datasets()]

    def num_rated_answers(self) -> int | None:
        """Answers with feedback."""
        return None if self._answers is None else self._answers.count()

    def plan_training(self, options: TrainingOptions) -> Mapping[str, Any]:
        """Make a dry run. One at a time."""
        run_commands.check_options(options)
        if not self._plan_lock.acquire(blocking=False):
            raise Unavailable("Another plan is being made. Try again soon.")
        try:
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryDirectory(prefix=PLAN, dir=self._root) as folder:
                self._prepare_training(Path(folder), Path(folder), options)
                return run_plan(Path(folder), self._threads, self._is_closed)
        finally:
            self._plan_lock.release()

    def start_training(self, options: TrainingOptions) -> Run:
        """Start a training, or let it wait."""
        run_commands.check_options(options)

        def prepare(folder: Path, target: Path) -> Sequence[str]:
            self._prepare_training(folder, target, options)
            return run_commands.training_command(target)

        source = "rated answers" if options.dataset is None else options.dataset
        shown = {**asdict(options), "dataset": source, "from_answers": options.dataset is None}
        return self._start("training", options.title or Path(source).stem, shown, prepare)

    def start_evaluation(self, options: EvaluationOptions) -> Run:
        """Start an evaluation, or let it wait."""
        models = self.models()
        model = find_run_model(models, options.model, "model")
        against = None if options.against is None else find_run_model(models, options.against, "against")
        source = self._datasets.path(options.dataset)

        def prepare(folder: Path, target: Path) -> Sequence[str]:
            data = target / run_commands.copy_data(source, folder)
            base = None if against is None else model_path(against, self._root)
            return run_commands.evaluation_command(options, target, data, model_path(model, self._root), base)

        title = _title(model) if against is None else f"{_title(model)} – {_title(against)}"
        return self._start("evaluation", options.title or title, asdict(options), prepare)

    def _prepare_training(self, folder: Path, target: Path, options: TrainingOptions) -> None:
        """Write data and recipe into `folder`, which will have the path `target`."""
        model = find_run_model(self.models(), options.base_model, "base_model")
        if options.method not in model.methods:
            methods = " or ".join(f"'{method}'" for method in model.methods)
            raise InvalidParameter("method", f"{model.name} can only be trained with the method {methods}.")
        if options.dataset is not None:
            name = run_commands.copy_data(self._datasets.path(options.dataset), folder)
        elif self._answers is not None:
            self._answers.write(folder, options.objective)
            name = RATED_ANSWERS_FILE
        else:
            raise InvalidParameter("dataset", "This server stores no rated answers. Choose a data set.")
        base = model_path(model, self._root)
        if model.name.startswith(PREFIX):  # its weights have learned from them
            RunFolder(folder).add_contributors(RunFolder(base.parent).contributors())
        run_commands.write_recipe(folder, run_commands.recipe_values(options, base, target / name, target / MODEL))

    def _start(self, kind: RunKind, title: str, options: Mapping[str, Any], prepare: Prepare) -> Run:
        now = time.time()
        fraction = f"{now % 1:.6f}"[2:]
        id = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{fraction}{secrets.token_hex(1)}"
        record = RunRecord(kind, _clean_title(title) or id, now, {name: v for name, v in options.items() if v != ""})
        folder = RunFolder(self._root / id)
        with self._queue.locked():
            if sum(entry.is_waiting for entry in self._queue.folders()) >= MAX_WAITING:
                raise RunConflict(f"{MAX_WAITING} runs are waiting already. Stop one of them, or wait.")
            with atomic_directory(folder.path) as temporary:
                temporary.chmod(0o700)
                RunFolder.write_new(temporary, record, prepare(temporary, folder.path))
        self._queue.wake()
        return _read_run(folder)

    def stop(self, id: str) -> Run:
        """Let a run end with a checkpoint; a second call after five seconds kills it."""
        folder = self._folder(id)
        with self._queue.locked():
            if not _read_run(folder).is_open:
                raise RunConflict("This run has ended already.")
            folder.stop(KILL_AFTER_SECONDS)
        return _read_run(folder)

    def resume(self, id: str) -> Run:
        """Let a run wait for its turn again."""
        folder = self._folder(id)
        with self._queue.locked():
            state = folder.state()
            if state not in ("stopped", "failed"):
                raise RunConflict(f"Only a stopped or failed run can be resumed; this one is {state}.")
            folder.mark_waiting()
        self._queue.wake()
        return _read_run(folder)

    def delete(self, id: str) -> None:
        """Delete a run with its model."""
        folder = self._folder(id)
        with self._queue.locked():
            if _read_run(folder).is_open:
                raise RunConflict("Stop the run before you delete it.")
            hidden = self._root / f"{DELETED}{folder.id}"
            folder.path.rename(hidden)
        shutil.rmtree(hidden, ignore_errors=True)

    def progress(self, id: str, after: int) -> RunProgress:
        """Events from a position on."""
        return RunProgress(*read_events(self._folder(id).path / EVENTS, after))

    def end_position(self, id: str) -> int:
        """The size of the file of events while the run is open."""
        folder = self._folder(id)
        if not _read_run(folder).is_open:
            return -1
        path = folder.path / EVENTS
        return path.stat().st_size if path.is_file() else 0

    def report(self, id: str) -> str:
        """The report of a run."""
        path = self._folder(id).report
        if not path.is_file():
            raise NotFound(f"The run '{id}' has no report.")
        return path.read_text(encoding="utf-8")

    def serve(self, id: str) -> str:
        """Load the model of a run into this server; a model that was loaded before stays."""
        folder = self._folder(id)
        if self._load_model is None or not folder.has_model:
            raise NotFound(f"The run '{id}' has no model that can be served.")
        with self._serve_lock:
            if id not in self._served:
                words = re.sub("[^a-z0-9]+", "-", folder.record().title.lower()).strip("-")
                name = f"{words[:40] or 'model'}-{id[-4:]}"
                self._served[id] = self._load_model(folder.model, name)
            return self._served[id]

    def _folder(self, id: str) -> RunFolder:
        folder = RunFolder(self._root / id) if _ID.fullmatch(id) else None
        if folder is None or not folder.path.is_dir():
            raise NotFound(f"There is no run '{id[:60]}'.")
        return folder


def _read_run(folder: RunFolder) -> Run:
    record, state = folder.record(), folder.state()
    started, ended = folder.times(state)
    result, samples = read_result(folder) if state == "complete" else ({}, ())
    return Run(
        id=folder.id, kind=record.kind, title=record.title, state=state, created=record.created, started=started,
        ended=ended, options=record.options, reason=folder.reason(state),
        is_stopping=state == "running" and folder.is_stopping, result=result, samples=samples,
        model_folder=str(folder.model) if state == "complete" and folder.has_model else "",
        has_report=state == "complete" and folder.report.is_file(),
    )  # fmt: skip


def _title(model: RunModel) -> str:
    return model.title.partition(":")[0]


def _clean_title(title: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in title).split())[:MAX_TITLE_CHARS]
