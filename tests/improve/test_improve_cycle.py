"""A cycle with the tiny model: from corrections to a promoted version, also if it is killed on the way."""

import asyncio

import pytest
from feedback_samples import shop_corrections
from registry_stand_ins import AnswerList

from turnwise.app.chat_services import open_chat_service
from turnwise.app.model_versions.rebuild import rebuild_version
from turnwise.app.model_versions.version_library import VersionLibrary, served_model_name
from turnwise.app.scope_files import read_scope, write_scope
from turnwise.app.version_serving.version_check import check_answers
from turnwise.core.chat_request import ChatRequest
from turnwise.core.errors import UserError
from turnwise.core.messages import Message
from turnwise.evaluation.gate.rules_file import GateRules, load_gate_rules
from turnwise.improve.cycle import ImproveCycle
from turnwise.improve.cycle_folder import CycleFolders
from turnwise.improve.registration import train_again
from turnwise.improve.settings import ImproveSettings
from turnwise.models.model_folders import SCOPE_FILE
from turnwise.store import open_model_registry

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_loss_plot", "one_thread", "few_golden_cases")]
MODEL = served_model_name("tiny")
SETTINGS = ImproveSettings.model_validate(
    {
        "min_answers": 5,
        "tuning": {
            "rank": 4, "passes": 4, "learning_rate": 1e-3, "num_replay_replies": 20, "replay_ratio": 0.5,
            "min_preferences": 50,
        },
        "proof": {"alphas": [1.0, 0.3], "scope": False},
    }
)  # fmt: skip
SCOPED = ImproveSettings.model_validate(SETTINGS.model_dump() | {"proof": {"alphas": [1.0, 0.3]}})


@pytest.fixture
def few_golden_cases(monkeypatch):
    """The cycle asks six cases of the golden set."""
    from turnwise.evaluation.golden_set import load_golden_cases

    cases = load_golden_cases()[:6]
    monkeypatch.setattr("turnwise.evaluation.metrics.golden.load_golden_cases", lambda: cases)


@pytest.fixture
def only_improvement():
    """Rules that only ask for better predictions of the corrections."""
    rules = load_gate_rules()
    improvement = rules.rules["improvement"].model_copy(update={"metric": "bits_per_byte", "min_dialogues": 5})
    return GateRules(rules.alpha, {"improvement": improvement})


@pytest.fixture
def make_cycle(tmp_path):
    registries = []

    def make(rules, answers, name="home", settings=SETTINGS, **more):
        registry = open_model_registry(f"sqlite:///{tmp_path / name}.db")
        registries.append(registry)
        return ImproveCycle(
            MODEL, VersionLibrary(registry, tmp_path / name), AnswerList(answers), rules, settings,
            CycleFolders(MODEL, tmp_path / f"{name}-improve"), **more,
        )  # fmt: skip

    yield make
    for registry in registries:
        registry.close()


def serving(cycle):
    return cycle.library.registry.routing(MODEL).serving


class TestOutcomes:
    def test_a_version_that_predicts_the_corrections_better_is_promoted(self, make_cycle, only_improvement):
        cycle = make_cycle(only_improvement, shop_corrections(12))
        journal = cycle.run()
        assert (journal["outcome"], journal["version"]) == ("promoted", 2)
        assert serving(cycle).number == 2
        assert "bits per byte improved" in journal["reason"]
        assert serving(cycle).content.contributors == ("local",)
        with open_chat_service(str(cycle.library.folder(serving(cycle)))) as service:
            assert set(serving(cycle).content.scorecard["check"]) == {"prompt", "answer"}
            check_answers(service, serving(cycle))
        assert (journal.folder / "report" / "report.html").is_file()
        assert [path.name for path in journal.folder.iterdir() if path.is_dir()] == ["report"]

    def test_a_version_that_breaks_a_rule_is_kept_as_a_candidate(self, make_cycle):
        rules = load_gate_rules()
        impossible = rules.rules["length"].model_copy(update={"low": 50.0, "high": 60.0})
        cycle = make_cycle(GateRules(rules.alpha, {"length": impossible}), shop_corrections(12))
        journal = cycle.run()
        assert journal["outcome"] == "refused"
        assert journal["reason"].startswith("Refused: ")
        assert serving(cycle).number == 1
        assert cycle.library.registry.get(MODEL, 2).state == "candidate"

    def test_too_little_feedback_trains_nothing(self, make_cycle, only_improvement):
        journal = make_cycle(only_improvement, shop_corrections(2)).run()
        assert journal["outcome"] == "nothing to learn"
        assert journal["reason"] == "There is feedback on 2 new answers; a cycle needs 5."


def test_a_version_is_trained_again_to_the_same_bytes(make_cycle, only_improvement):
    cycle = make_cycle(only_improvement, shop_corrections(12))
    cycle.run()
    version = serving(cycle)
    assert rebuild_version(cycle.library, version, train=train_again).is_identical


class TestScope:
    @pytest.fixture
    def cycle(self, make_cycle, only_improvement):
        cycle = make_cycle(only_improvement, shop_corrections(12), settings=SCOPED)
        cycle.run()
        return cycle

    def test_a_version_with_a_scope_answers_like_the_first_one_outside_of_it(self, cycle):
        assert serving(cycle).number == 2
        assert cycle.folders.last()["reason"].endswith("The questions are those of the training, typed differently.")
        with (
            open_chat_service(str(cycle.library.folder(serving(cycle)))) as service,
            open_chat_service("tiny") as first,
        ):
            for question, is_same in [("How much is article 5?", False), ("What is a poem?", True)]:
                request = ChatRequest((Message("user", question),), sampling={"temperature": 0, "max_tokens": 12})
                texts = [asyncio.run(model.reply(request)).text for model in (service, first)]
                assert (texts[0] == texts[1]) == is_same

    def test_its_weights_and_scope_are_made_again_to_the_same_bytes(self, cycle):
        version = serving(cycle)
        assert rebuild_version(cycle.library, version, train=train_again).is_identical
        write_scope(cycle.library.folder(version), read_scope(cycle.library.folder(version)).model_copy(
            update={"base": "assistant"}
        ))  # fmt: skip
        assert rebuild_version(cycle.library, version, train=train_again).different_files == (SCOPE_FILE,)


def test_changed_training_data_are_an_error(make_cycle, only_improvement):
    cycle = make_cycle(only_improvement, shop_corrections(12))
    cycle.run()
    folder = cycle.library.own_folder(serving(cycle))
    (folder / "data" / "corrections.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match=r"have changed since it was added: data/corrections\.jsonl"):
        rebuild_version(cycle.library, serving(cycle), train=train_again)


STEPS = [
    "turnwise.improve.cycle.write_examples",
    "turnwise.improve.cycle.replay_files",
    "turnwise.improve.cycle_training.build_model",
    "turnwise.improve.gated_comparison.measure_forgetting",
    "turnwise.improve.gated_comparison.measure_feedback",
    "turnwise.improve.gated_comparison.write_report",
    "turnwise.improve.promotion.add_version",
    "turnwise.improve.journal.atomic_write",
]


class Killed(BaseException):
    """Ends a cycle like a signal."""


def kill_at(patch, function, call):
    """Let a function of the cycle raise before its call number `call`."""
    import importlib

    module, name = function.rsplit(".", 1)
    original, calls = getattr(importlib.import_module(module), name), []

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == call:
            raise Killed
        return original(*args, **kwargs)

    patch.setattr(function, interrupted)


def test_an_interrupted_cycle_continues_to_the_same_result(make_cycle, only_improvement, monkeypatch):
    whole = make_cycle(only_improvement, shop_corrections(12), "whole")
    whole.run()
    cycle = make_cycle(only_improvement, shop_corrections(12), "resumed")
    for function, call in [(step, call) for step in STEPS for call in (1, 2)]:
        with monkeypatch.context() as patch:
            kill_at(patch, function, call)
            try:
                cycle.run()
            except Killed:
                assert serving(cycle).number == 1
            else:
                break
    journal = cycle.run() if serving(cycle).number == 1 else cycle.folders.last()
    assert journal["outcome"] == "promoted"
    assert len(cycle.library.registry.list(MODEL)) == 2
    assert serving(cycle).content.weights_sha256 == serving(whole).content.weights_sha256
