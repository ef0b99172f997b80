"""A small cycle of `turnwise improve`: its TURNWISE_HOME, its process, and the checks of what is on the disk."""

import os
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from improvement_parts.disturbed_writes import Disturbance, disturb
from turnwise.app.model_versions.version_library import VersionLibrary, served_model_name
from turnwise.core.feedback import AnswerReference, NewFeedback
from turnwise.core.messages import Conversation, Message
from turnwise.store import open_model_registry, open_store

MODEL = served_model_name("tiny")
NUM_GOLDEN_CASES = 4
SETTINGS = {
    "masks_personal_data": False,
    "tuning": {
        "rank": 8, "passes": 12, "learning_rate": 2e-3, "num_replay_replies": 20, "replay_ratio": 0.5,
        "min_preferences": 50,
    },
    "proof": {"alphas": [1.0]},
    "limits": {"threads": 1, "niceness": 0},
}  # fmt: skip
REMOVED_RULES = ("retention", "selection", "golden", "safety", "length", "repetition", "typos")
RULES = {
    "rules": {"improvement": {"metric": "bits_per_byte", "min_dialogues": 5}, **dict.fromkeys(REMOVED_RULES)}
}  # fmt: skip
CASES = ("How do I get my money back?", "What is the capital of France?", "Tell me a joke.")
PEOPLE = 6


def write_home(home: Path, num_corrections: int) -> None:
    """Write a TURNWISE_HOME with corrected answers, settings and rules."""
    home.mkdir(parents=True)
    (home / "improve.yaml").write_text(yaml.safe_dump(SETTINGS), encoding="utf-8")
    (home / "gate.yaml").write_text(yaml.safe_dump(RULES), encoding="utf-8")
    store = open_store(f"sqlite:///{home / 'conversations.db'}")
    for number in range(num_corrections):
        user = f"person-{number % PEOPLE}"
        conversation = store.create(title="", model=MODEL)
        messages = [Message("user", f"How much is article {number}?"), Message("assistant", "I do not know.")]
        meta = {"model": MODEL, "finish": "stop", "consent": "full", "user": user}
        *_, answer = store.append(conversation.id, messages, meta)
        content = NewFeedback(correction=f"Article {number} costs {number + 3} euros, with tax.", user=user)
        store.feedback.add(AnswerReference("message", answer), content)
    store.close()
    with closing(sqlite3.connect(home / "conversations.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def register_first(home: Path) -> None:
    """Let the bundled model serve as the first version."""
    registry = open_model_registry(f"sqlite:///{home / 'versions.db'}")
    VersionLibrary(registry, home / "versions").ensure_first(MODEL)
    registry.close()


def run_cycle(home: Path, output: Path, disturbance: Disturbance | None) -> None:
    """Run `turnwise improve --once` in this process, and end it.

    Args:
        home: TURNWISE_HOME.
        output: file of what the command prints.
        disturbance: what happens to the process; None: nothing.
    """
    os.environ |= {"TURNWISE_HOME": str(home), "OMP_NUM_THREADS": "1"}
    os.setsid()  # the cycle then runs in this process, which is disturbed, and not in one with a session of its own
    descriptor = os.open(output, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    _reduce_work()
    if disturbance is not None:
        disturb(home, disturbance)
    sys.argv = ["turnwise", "improve", "--once", "--model", MODEL]
    from turnwise.cli.main import main

    main()


def _reduce_work() -> None:
    """Ask few golden cases, and leave out pictures of the loss, which take longer than the training."""
    from turnwise.evaluation.golden_set import load_golden_cases
    from turnwise.evaluation.metrics import golden
    from turnwise.training import loggers

    cases = load_golden_cases()[:NUM_GOLDEN_CASES]
    golden.load_golden_cases = lambda: cases
    loggers.plot_loss = lambda *_, **__: None


@dataclass
class HomeState:
    """What is in a TURNWISE_HOME.

    Attributes:
        errors: what is damaged or contradictory.
        num_versions: versions of the model.
        serving: number of the version that serves; 0 without a registry.
        digest: digest of its weights.
        answers: its greedy answers.
        outcome: outcome of the last cycle; empty while it is not complete.
        step: the last complete step of the cycle.
        num_cycles: cycles.
        remains: temporary files and folders.
    """

    errors: list[str] = field(default_factory=list)
    num_versions: int = 0
    serving: int = 0
    digest: str = ""
    answers: tuple[str, ...] = ()
    outcome: str = ""
    step: str = ""
    num_cycles: int = 0
    remains: tuple[str, ...] = ()


def inspect_home(home: Path, num_corrections: int) -> HomeState:
    """Open everything as a server would, and let the serving version answer."""
    state = HomeState(remains=find_remains(home))
    for database in home.glob("*.db"):
        with closing(sqlite3.connect(database)) as connection:
            if connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                state.errors.append(f"{database.name} is damaged")
    store = open_store(f"sqlite:///{home / 'conversations.db'}")
    if store.collected_answers.count(MODEL) != num_corrections:
        state.errors.append("the store has lost feedback")
    store.close()
    if (home / "versions.db").is_file():
        registry = open_model_registry(f"sqlite:///{home / 'versions.db'}")
        _inspect_versions(VersionLibrary(registry, home / "versions"), state)
        registry.close()
    _inspect_cycles(home, state)
    return state


def _inspect_versions(library: VersionLibrary, state: HomeState) -> None:
    versions = library.registry.list(MODEL)
    state.num_versions = len(versions)
    for version in versions:
        library.verified_folder(version)  # raises if the weights are not those of the record
    if not versions:
        return
    routing = library.registry.routing(MODEL)
    if routing is None or [version.number for version in versions if version.state == "serving"] != [
        routing.serving.number
    ]:
        state.errors.append("not exactly one version serves")
        return
    state.serving, state.digest = routing.serving.number, routing.serving.content.weights_sha256
    state.answers = greedy_answers(library.verified_folder(routing.serving))


def _inspect_cycles(home: Path, state: HomeState) -> None:
    from turnwise.improve.cycle_folder import CycleFolders

    journals = list(CycleFolders(MODEL, home / "improve").journals())
    state.num_cycles = len(journals)
    if journals:
        state.outcome = journals[-1].get("outcome") or ""
        state.step = (journals[-1].steps or [""])[-1]


def greedy_answers(folder: Path) -> tuple[str, ...]:
    """Greedy answers of a model to fixed questions."""
    from turnwise.app.systems_under_test import open_model_under_test
    from turnwise.evaluation.metric_runner import run_metrics
    from turnwise.evaluation.metrics import load_metrics
    from turnwise.store import open_response_cache

    (metric,) = load_metrics(["chrf"])
    dialogues = [Conversation((Message("user", question), Message("assistant", "-"))) for question in CASES]
    with closing(open_response_cache("sqlite:///:memory:")) as cache:
        sampling = {"max_tokens": 16, "temperature": 0}
        with open_model_under_test(str(folder), cache, sampling=sampling, threads=1) as system:
            result = run_metrics(system, [metric], {metric.NAME: metric.samples(dialogues, 0)}, seeds=(0,))
    return tuple(sample.outputs[0].text for sample in result[metric.NAME].results_by_seed[0])


def find_remains(home: Path) -> tuple[str, ...]:
    """Temporary files and folders, and unfinished runs."""
    suffixes = (".part", ".old", ".partial", ".tmp")
    return tuple(
        sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.name.endswith(suffixes))
    )  # fmt: skip
