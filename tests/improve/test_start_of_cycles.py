"""Which cycle is started or continued, and which feedback is new; nothing is trained to the end."""

import time
from dataclasses import replace

import pytest
from feedback_samples import shop_corrections
from registry_stand_ins import AnswerList

from turnwise.app.model_versions.base_versions import ensure_base
from turnwise.app.model_versions.version_library import VersionLibrary, served_model_name
from turnwise.core.errors import ModelNotFound
from turnwise.core.model_versions import NewVersion
from turnwise.evaluation.gate.rules_file import load_gate_rules
from turnwise.improve.cycle import ImproveCycle
from turnwise.improve.cycle_folder import EXAMPLES_FILE, CycleFolders
from turnwise.improve.example_file import write_examples
from turnwise.improve.settings import ImproveSettings
from turnwise.improve.training_examples import training_examples
from turnwise.store import open_model_registry
from turnwise.training.stop_signals import TrainingInterrupted

MODEL = served_model_name("tiny")
SETTINGS = ImproveSettings.model_validate(
    {"tuning": {"rank": 4, "passes": 4, "num_replay_replies": 20}, "proof": {"questions": "held_out"}}
)


def collected_now(answers):
    """The answers, with feedback that was given just now."""
    return [replace(a, preferred=tuple(replace(p, created=time.time()) for p in a.preferred)) for a in answers]


@pytest.fixture
def cycle(tmp_path):
    registry = open_model_registry(f"sqlite:///{tmp_path / 'versions'}.db")
    yield ImproveCycle(
        MODEL, VersionLibrary(registry, tmp_path / "versions"), AnswerList(), load_gate_rules(), SETTINGS,
        CycleFolders(MODEL, tmp_path / "improve"),
    )  # fmt: skip
    registry.close()


class Killed(BaseException):
    """Ends a cycle like a signal."""


def kill(*_args, **_keys):
    raise Killed


def outcomes(cycle):
    return [journal.get("outcome") for journal in cycle.folders.journals()]


def test_feedback_adds_up_over_cycles_that_had_too_little(cycle):
    answers = shop_corrections(9)
    for count, reason in ((3, "There is feedback on 3 new answers"), (9, "Too few examples passed the checks")):
        cycle.reader.list = collected_now(answers[:count])
        assert cycle.run()["reason"].startswith(reason)


def test_too_few_corrections_for_the_halves_of_the_proof_end_the_cycle_with_a_reason(cycle):
    cycle.reader.list = collected_now(shop_corrections(8))
    assert cycle.dry_run()["obstacle"].startswith("Too few examples passed the checks (8 of the kind correction)")
    assert cycle.run()["outcome"] == "nothing to learn"


def test_a_version_is_not_proved_on_what_the_serving_version_was_trained_on(cycle):
    serving = cycle.library.ensure_first(MODEL)
    answers = shop_corrections(12)
    before = cycle.folders.create(started=time.time() - 9)
    write_examples(before.folder / EXAMPLES_FILE, training_examples(answers))
    before.complete("promoted", "Better.", version=serving.number)
    cycle.reader.list = collected_now(answers)
    assert cycle.dry_run()["obstacle"].startswith("There is no example to compare the versions on")
    assert cycle.run()["reason"].startswith("There is no example to compare the versions on")


def test_feedback_of_cycles_whose_examples_were_erased_is_new_again(cycle):
    """The next cycle replaces the version that was erased with them."""
    cycle.reader.list = collected_now(shop_corrections(6))
    journal = cycle.folders.create(started=time.time() + 9)
    write_examples(journal.folder / EXAMPLES_FILE, training_examples(cycle.reader.list))
    journal.complete("promoted", "Better.", version=1)
    assert cycle.dry_run()["num_new"] == 0
    (journal.folder / EXAMPLES_FILE).unlink()
    assert cycle.dry_run()["num_new"] == 6


def test_models_of_a_complete_cycle_are_deleted_but_not_its_report(cycle):
    """Also if the run that completed it was killed before it deleted them."""
    journal = cycle.folders.create(started=0.0)
    for name in ("model", "model-0.6", "proof-a", "proof-a-data", "report"):
        (journal.folder / name).mkdir()
    journal.complete("refused", "Refused.", version=2)
    cycle.run()
    assert sorted(path.name for path in journal.folder.iterdir()) == ["cycle.json", "report"]


def test_a_canary_that_never_served_counts_as_a_look_at_the_held_out_answers(cycle):
    """Its promotion did not change what later versions are compared with."""
    registry = cycle.library.registry
    ensure_base(cycle.library, MODEL)
    for number, outcome in ((2, "refused"), (3, "promoted"), (4, "promoted")):
        registry.add(NewVersion(MODEL, f"{MODEL}/{number}", "digest"), reason="r")
        journal = cycle.folders.create(model=MODEL, started=1.0)
        journal.run("compare", dict)
        journal.complete(outcome, "r", version=number)
    for number in (3, 4):
        registry.change_state(MODEL, number, "canary", actor="person", reason="r", share=0.1)
    now = cycle.folders.create(model=MODEL, started=2.0)
    assert cycle._num_looks(now) == 3
    registry.change_state(MODEL, 4, "serving", actor="person", reason="r")
    assert cycle._num_looks(now) == 0


class TestUpdatesOfTheBaseModel:
    """The registry has the weights of an older release of the bundled model."""

    @pytest.fixture
    def outdated(self, cycle):
        cycle.library.registry.add(NewVersion(MODEL, "tiny", "the digest of an older release"), reason="r")
        return cycle

    def test_all_feedback_is_new_again_for_the_new_weights(self, outdated):
        outdated.reader.list = collected_now(shop_corrections(6))
        journal = outdated.folders.create(started=time.time() + 9, first=1)
        write_examples(journal.folder / EXAMPLES_FILE, training_examples(outdated.reader.list))
        journal.complete("promoted", "Better.", version=2)
        assert outdated.last_start() == 0.0
        outdated.run()
        last = outdated.folders.last()
        assert (last["first"], last["serving"], last.result("select")["num_new"]) == (2, 2, 6)
        assert outdated.last_start() == last["started"]

    def test_an_interrupted_cycle_of_the_old_weights_is_given_up(self, outdated):
        outdated.folders.create(
            started=1.0, first=1, serving=1, settings=outdated._training_settings(), since=0.0, model=MODEL
        )
        outdated.run()
        interrupted, _ = outdated.folders.journals()
        assert interrupted["outcome"] == "abandoned"
        assert interrupted["reason"] == (
            f"{MODEL}@2 became the version that trainings start from before it was complete."
        )


def test_a_serving_version_that_cannot_be_loaded_ends_a_cycle_before_the_training(cycle, tmp_path):
    cycle.reader.list = collected_now(shop_corrections(12))
    ensure_base(cycle.library, MODEL)
    cycle.library.registry.add(NewVersion(MODEL, f"{MODEL}/2", "digest"), reason="r")
    cycle.library.registry.change_state(MODEL, 2, "serving", actor="person", reason="r")
    with pytest.raises(ModelNotFound, match=f"folder of {MODEL}@2 is missing"):
        cycle.run()
    assert outcomes(cycle) == []


def test_an_interrupted_cycle_whose_serving_version_is_lost_is_given_up(cycle):
    """Else it would fail in every run, also after a roll-back."""
    base = ensure_base(cycle.library, MODEL)
    cycle.library.registry.add(NewVersion(MODEL, f"{MODEL}/2", "digest"), reason="r")
    cycle.folders.create(
        started=1.0, first=base.number, serving=2, settings=cycle._training_settings(), since=0.0, model=MODEL
    )
    cycle.run()
    assert outcomes(cycle) == ["abandoned", "nothing to learn"]


@pytest.mark.costly
@pytest.mark.usefixtures("no_loss_plot", "one_thread")
class TestInterruptedCycles:
    def test_a_stop_ends_the_collection_of_replies(self, cycle):
        """And not only a training: each of the other steps takes minutes, too."""
        cycle.reader.list = collected_now(shop_corrections(12))
        with pytest.raises(TrainingInterrupted):
            replace(cycle, stop=lambda: True).run()
        (journal,) = cycle.folders.journals()
        assert journal.steps == ["select"]

    def test_one_with_other_settings_is_given_up(self, cycle, monkeypatch):
        """Else a wrong setting would stop all further cycles, and a changed split would compare on training data."""
        cycle.reader.list = collected_now(shop_corrections(12))
        monkeypatch.setattr("turnwise.improve.cycle_training.build_model", kill)
        with pytest.raises(Killed):
            cycle.run()
        with pytest.raises(Killed):
            cycle.run()
        assert outcomes(cycle) == [None], "it was continued"
        held_out = SETTINGS.proof.model_copy(update={"max_cross_fitted": 0})
        with pytest.raises(Killed):
            replace(cycle, settings=SETTINGS.model_copy(update={"proof": held_out})).run()
        assert outcomes(cycle) == ["abandoned", None]

    def test_the_time_limit_starts_with_every_run(self, cycle):
        cycle.reader.list = collected_now(shop_corrections(12))
        limits = SETTINGS.limits.model_copy(update={"minutes": 1e-9})
        limited = replace(cycle, settings=SETTINGS.model_copy(update={"limits": limits}))
        with pytest.raises(TrainingInterrupted):
            limited.run()
        assert not limited.stop(), "only the cycle ends, not the schedule"
        assert outcomes(cycle) == [None]
