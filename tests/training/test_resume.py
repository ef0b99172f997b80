"""Killed and interrupted runs end with the same results as uninterrupted ones."""

import json
import os
import random
import shutil
import signal
from pathlib import Path

import pytest
import torch
import training_processes as processes
import yaml
from safetensors.torch import load_file
from training_processes import steps, validations

from turnwise.core.errors import InvalidParameter
from turnwise.training import gradient_accumulation as step
from turnwise.training.hooks import TrainerHook
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.recipe import parse_recipe
from turnwise.training.stop_signals import TrainingInterrupted

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("no_loss_plot")


def long_run(values, **settings):
    """Values for twenty steps, with a checkpoint every third and a validation every seventh step."""
    training = {"max_steps": 20, "batch_size": 3, "save_steps": 3, "eval_steps": 7, "learning_rate": 0.005, **settings}
    return {**values, "training": {**values["training"], **training}}


def run(values, **more):
    return run_recipe(parse_recipe(values, origin="test"), device=CPU, **more)


def weights(folder):
    return load_file(folder / "model.safetensors")


def curve(folder):
    """The steps with a training loss in TensorBoard."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [point.step for point in events.Scalars("train/loss")]


class Interrupting(TrainerHook):
    """Sends SIGINT after the step `at`."""

    def __init__(self, at):
        self.at = at

    def on_step_end(self, report):
        if report.step == self.at:
            signal.raise_signal(signal.SIGINT)


@pytest.fixture
def interrupted(values):
    """`interrupted()`: interrupt a run after five of eight steps; returns its values."""

    def make():
        run_values = long_run(values, max_steps=8)
        with pytest.raises(KeyboardInterrupt):
            run(run_values, hooks=[Interrupting(at=5)])
        return run_values

    return make


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "times"), [("adamw", 10), ("muon", 3)])
def test_a_repeatedly_killed_run_ends_with_the_same_bits(values, tmp_path, optimizer, times):
    uninterrupted, killed = tmp_path / "whole", tmp_path / "killed"
    run_values = long_run(values, optimizer=optimizer)
    run({**run_values, "out": str(uninterrupted)})
    again = {**run_values, "out": str(killed)}
    work = tmp_path / "killed.partial"
    moments = sorted(random.Random(optimizer).sample(range(2, 20), times))
    for moment in moments:
        process = processes.start(processes.train, again)
        assert processes.when_steps(process, work, moment, signal.SIGKILL)
        assert processes.ended(process) == -signal.SIGKILL
        assert not killed.exists()
    process = processes.start(processes.train, again)
    assert processes.ended(process) == 0
    first, second = weights(uninterrupted), weights(killed)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert steps(killed / "metrics.jsonl") == steps(uninterrupted / "metrics.jsonl")
    assert [step for step, _ in steps(killed / "metrics.jsonl")] == list(range(1, 21))
    assert validations(killed / "metrics.jsonl") == validations(uninterrupted / "metrics.jsonl")
    assert curve(killed / "tensorboard") == list(range(1, 21))
    results = [json.loads((out / "result.json").read_text()) for out in (uninterrupted, killed)]
    for result in results:
        del result["seconds"]
    assert results[0] == results[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "whole"]


@pytest.mark.slow
def test_ctrl_c_writes_a_checkpoint_and_the_same_command_continues(base_folder, chats, valid_chats, tmp_path):
    out, stderr_file = tmp_path / "out", tmp_path / "stderr"
    arguments = [chats, "--base-model", base_folder, "--valid", valid_chats, "--out", out, "--max-seq-len", 64]
    arguments = [str(word) for word in [*arguments, "--batch-size", 3, "--max-steps", 400]]
    process = processes.start(processes.train_command, arguments, stderr_file)
    assert processes.when_steps(process, tmp_path / "out.partial", 3, signal.SIGINT)
    assert processes.ended(process) == 130
    assert "The same command resumes the run" in stderr_file.read_text()
    assert "Traceback" not in stderr_file.read_text()
    state = json.loads((tmp_path / "out.partial" / "checkpoint" / "state.json").read_text())
    made = steps(tmp_path / "out.partial" / "metrics.jsonl")
    assert state["step"] == made[-1][0] >= 3
    assert not out.exists()
    process = processes.start(processes.train_command, arguments, stderr_file)
    assert processes.when_steps(process, tmp_path / "out.partial", len(made) + 2, signal.SIGINT)
    assert processes.ended(process) == 130
    assert steps(tmp_path / "out.partial" / "metrics.jsonl")[: len(made)] == made


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_writes_a_checkpoint(base_folder, chats, valid_chats, tmp_path, sent):
    """Signals of service managers, containers and closed terminals."""
    out, stderr_file = tmp_path / "out", tmp_path / "stderr"
    arguments = [chats, "--base-model", base_folder, "--valid", valid_chats, "--out", out, "--max-seq-len", 64]
    arguments = [str(word) for word in [*arguments, "--batch-size", 3, "--max-steps", 400, "--evaluation", "none"]]
    process = processes.start(processes.train_command, arguments, stderr_file)
    assert processes.when_steps(process, tmp_path / "out.partial", 3, sent)
    assert processes.ended(process) == 128 + sent
    assert "The same command resumes the run" in stderr_file.read_text()
    state = json.loads((tmp_path / "out.partial" / "checkpoint" / "state.json").read_text())
    assert state["step"] >= 3


class Signalling(TrainerHook):
    """Sends SIGTERM after the first micro-batch of step `at` + 1."""

    def __init__(self, monkeypatch, at):
        self.step_number, self.sent = 0, False
        compute = step.add_metrics

        def computed(*arguments):
            outcome = compute(*arguments)
            if self.step_number == at and not self.sent:
                self.sent = True
                signal.raise_signal(signal.SIGTERM)
            return outcome

        monkeypatch.setattr(step, "add_metrics", computed)

    def on_step_end(self, report):
        self.step_number = report.step


class TestInterruptedRuns:
    @pytest.mark.costly
    def test_an_interrupted_step_is_repeated(self, values, tmp_path, monkeypatch):
        run_values = long_run(values, max_steps=6, micro_batch_size=1, neftune_noise_alpha=5.0)
        run({**run_values, "out": str(tmp_path / "whole")})
        again = {**run_values, "out": str(tmp_path / "stopped")}
        with pytest.raises(TrainingInterrupted) as caught:
            run(again, hooks=[Signalling(monkeypatch, at=4)])
        assert caught.value.exit_code == 128 + signal.SIGTERM
        state = json.loads((tmp_path / "stopped.partial" / "checkpoint" / "state.json").read_text())
        assert state["step"] == 4
        run(again)
        first, second = weights(tmp_path / "whole"), weights(tmp_path / "stopped")
        assert all(torch.equal(first[name], second[name]) for name in first)

    @pytest.mark.costly
    def test_an_interrupted_validation_is_repeated(self, values, tmp_path):
        run_values = long_run(values, max_steps=9, eval_steps=3, save_steps=3)
        run({**run_values, "out": str(tmp_path / "whole")})
        again = {**run_values, "out": str(tmp_path / "stopped")}
        for at in (3, 6):
            with pytest.raises(KeyboardInterrupt):
                run(again, hooks=[Interrupting(at=at)])
            state = json.loads((tmp_path / "stopped.partial" / "checkpoint" / "state.json").read_text())
            assert (state["step"], state["validated"]) == (at, at - 3)
        run(again)
        first, second = weights(tmp_path / "whole"), weights(tmp_path / "stopped")
        assert all(torch.equal(first[name], second[name]) for name in first)
        read = [validations(tmp_path / name / "metrics.jsonl") for name in ("whole", "stopped")]
        assert read[0] == read[1]

    @pytest.mark.costly
    def test_checkpoints_are_written_at_the_time_interval(self, values, tmp_path):
        """A killed run loses at most the steps since then."""

        class Killed(TrainerHook):
            def on_step_end(self, report):
                if report.step == 4:
                    raise RuntimeError("killed")

        run_values = long_run(values, max_steps=6, save_steps=100, save_interval_minutes=1e-6)
        run({**run_values, "out": str(tmp_path / "whole")})
        again = {**run_values, "out": str(tmp_path / "stopped")}
        with pytest.raises(RuntimeError, match="killed"):
            run(again, hooks=[Killed()])
        state = json.loads((tmp_path / "stopped.partial" / "checkpoint" / "state.json").read_text())
        assert 1 <= state["step"] <= 3  # writing may take only a bounded share of the time
        run(again)
        first, second = weights(tmp_path / "whole"), weights(tmp_path / "stopped")
        assert all(torch.equal(first[name], second[name]) for name in first)

    @pytest.mark.costly
    def test_an_interrupt_finishes_the_step_and_loses_nothing(self, interrupted, tmp_path):
        run_values = interrupted()
        state = json.loads((tmp_path / "out.partial" / "checkpoint" / "state.json").read_text())
        assert state["step"] == 5
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert run(run_values).steps == 8
        assert curve(tmp_path / "out" / "tensorboard") == list(range(1, 9))
        assert not (tmp_path / "out.partial").exists()

    def test_a_second_ctrl_c_interrupts_immediately(self, values, tmp_path):
        class Impatient(Interrupting):
            def on_step_end(self, report):
                super().on_step_end(report)
                super().on_step_end(report)

        with pytest.raises(KeyboardInterrupt):
            run(long_run(values, max_steps=8), hooks=[Impatient(at=5)])
        state = json.loads((tmp_path / "out.partial" / "checkpoint" / "state.json").read_text())
        assert state["step"] == 3

    @pytest.mark.costly
    def test_ignored_interrupts_stay_ignored(self, values):
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            assert run(long_run(values, max_steps=6), hooks=[Interrupting(at=5)]).steps == 6
        finally:
            signal.signal(signal.SIGINT, before)

    @pytest.mark.costly
    def test_resuming_with_another_recipe_is_rejected(self, interrupted):
        run_values = interrupted()
        with pytest.raises(InvalidParameter, match=r"unfinished run of another recipe.*--restart"):
            run(long_run(run_values, max_steps=8, learning_rate=0.001))

    @pytest.mark.costly
    def test_resuming_with_other_data_is_rejected(self, interrupted, chats, tmp_path):
        run_values = interrupted()
        grown = tmp_path / "grown.jsonl"
        shutil.copy(chats, grown)
        run_values["data"]["train"] = str(grown)
        with pytest.raises(KeyboardInterrupt):
            run(run_values, restart=True, hooks=[Interrupting(at=5)])
        with grown.open("a") as file:
            file.write(grown.read_text().splitlines()[0].replace("lamp", "tram") + "\n")
        with pytest.raises(InvalidParameter, match=r"the data has changed since.*--restart"):
            run(run_values)

    @pytest.mark.costly
    def test_restart_discards_the_unfinished_run(self, interrupted, tmp_path):
        run_values = long_run(interrupted(), max_steps=8, learning_rate=0.001)
        run(run_values, restart=True)
        metrics = steps(tmp_path / "out" / "metrics.jsonl")
        assert [step for step, _ in metrics] == list(range(1, 9))
        saved = yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text())
        assert saved["training"]["learning_rate"] == 0.001

    @pytest.mark.costly
    def test_a_rejected_restart_discards_nothing(self, interrupted, tmp_path):
        run_values = interrupted()
        with pytest.raises(InvalidParameter, match="no objective"):
            run({**run_values, "objective": "sfd"}, restart=True)
        assert (tmp_path / "out.partial" / "checkpoint").is_dir()

    @pytest.mark.costly
    def test_files_from_before_the_first_checkpoint_are_removed(self, values, tmp_path):
        """The best weights of another recipe's run must not be used."""

        class Stop(Interrupting):
            def on_step_end(self, report):
                raise RuntimeError("killed")

        with pytest.raises(RuntimeError):
            run(values, hooks=[Stop(0)])
        assert (tmp_path / "out.partial" / "best").is_dir()
        data = {"train": values["data"]["train"], "valid_fraction": 0}
        run({**values, "data": data})
        base = weights(Path(values["model"]["from"]))
        assert any(not torch.equal(base[name], tensor) for name, tensor in weights(tmp_path / "out").items())
        events = list((tmp_path / "out" / "tensorboard").iterdir())
        assert len(events) == 1


class TestOutputFolder:
    def test_an_existing_folder_is_rejected_before_data_is_parsed(self, values, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "config.json").write_text("{}")
        values["data"]["train"] = "not there"
        with pytest.raises(InvalidParameter, match=r"exists already.*--overwrite"):
            run(values)

    @pytest.mark.costly
    def test_overwrite_replaces_the_folder_at_the_end(self, values, tmp_path):
        out = tmp_path / "out"
        out.mkdir()
        (out / "config.json").write_text("the old one")
        seen = []

        class Look(Interrupting):
            def on_step_end(self, report):
                seen.append((out / "config.json").read_text())

        run(values, overwrite=True, hooks=[Look(0)])
        assert seen == ["the old one"] * 4
        assert (out / "model.safetensors").is_file()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]

    def test_a_folder_without_a_model_is_never_overwritten(self, values, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "thesis.tex").write_text("years of work")
        with pytest.raises(InvalidParameter, match="not a model folder"):
            run(values, overwrite=True)
        assert (tmp_path / "out" / "thesis.tex").is_file()

    @pytest.mark.parametrize("out", [".", "..", "/"])
    def test_out_must_name_a_folder(self, values, out, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InvalidParameter, match="must name a new folder"):
            run({**values, "out": out}, overwrite=True)

    def test_other_files_in_the_work_folder_stay_until_the_run_ends(self, values, tmp_path):
        work = tmp_path / "out.partial"
        work.mkdir()
        (work / "note.txt").write_text("mine")

        class Stop(Interrupting):
            def on_step_end(self, report):
                assert (work / "note.txt").is_file()
                raise RuntimeError("killed")

        with pytest.raises(RuntimeError, match="killed"):
            run(values, hooks=[Stop(0)])


@pytest.mark.costly
def test_a_second_run_into_the_same_folder_is_rejected(values, tmp_path):
    recipe = parse_recipe(values, origin="test")

    class Second(TrainerHook):
        def on_step_end(self, report):
            if report.step == 1:
                second_recipe = parse_recipe(long_run(values, max_steps=3), origin="test")
                message = rf"Another training is writing to .* \(process {os.getpid()}\)"
                with pytest.raises(InvalidParameter, match=message):
                    run_recipe(second_recipe, device=CPU, restart=True)

    run_recipe(recipe, device=CPU, hooks=[Second()])
    saved = yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text())
    assert saved["training"]["max_steps"] == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
