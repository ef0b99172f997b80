"""A run that is killed, at any moment and several times, ends as if nothing had happened."""

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
pytestmark = pytest.mark.usefixtures("undrawn")


def long_run(values, **settings):
    """Twenty steps with checkpoints at every third and validation at every seventh, on two epochs and a bit."""
    training = {"max_steps": 20, "batch_size": 3, "save_steps": 3, "eval_steps": 7, "learning_rate": 0.005, **settings}
    return {**values, "training": {**values["training"], **training}}


def run(values, **more):
    return run_recipe(parse_recipe(values, origin="test"), device=CPU, **more)


def weights(folder):
    return load_file(folder / "model.safetensors")


def curve(folder):
    """The steps that TensorBoard shows a training loss for."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [point.step for point in events.Scalars("train/loss")]


class Interrupting(TrainerHook):
    """Presses Ctrl-C in the middle of a step."""

    def __init__(self, at):
        self.at = at

    def on_step_end(self, report):
        if report.step == self.at:
            signal.raise_signal(signal.SIGINT)


@pytest.fixture
def interrupted(values):
    """A run that Ctrl-C ended after five steps of eight."""

    def make():
        said = long_run(values, max_steps=8)
        with pytest.raises(KeyboardInterrupt):
            run(said, hooks=[Interrupting(at=5)])
        return said

    return make


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "times"), [("adamw", 10), ("muon", 3)])
def test_killed_again_and_again_it_ends_with_the_same_bits(values, tmp_path, optimizer, times):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    said = long_run(values, optimizer=optimizer)
    run({**said, "out": str(whole)})
    again = {**said, "out": str(killed)}
    work = tmp_path / "killed.partial"
    moments = sorted(random.Random(optimizer).sample(range(2, 20), times))
    for moment in moments:
        process = processes.start(processes.train, again)
        assert processes.when_steps(process, work, moment, signal.SIGKILL)
        assert processes.ended(process) == -signal.SIGKILL
        assert not killed.exists()
    process = processes.start(processes.train, again)
    assert processes.ended(process) == 0
    one, other = weights(whole), weights(killed)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert steps(killed / "metrics.jsonl") == steps(whole / "metrics.jsonl")
    assert [step for step, _ in steps(killed / "metrics.jsonl")] == list(range(1, 21))
    assert validations(killed / "metrics.jsonl") == validations(whole / "metrics.jsonl")
    assert curve(killed / "tensorboard") == list(range(1, 21))
    results = [json.loads((out / "result.json").read_text()) for out in (whole, killed)]
    for result in results:
        del result["seconds"]
    assert results[0] == results[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "whole"]


@pytest.mark.slow
def test_ctrl_c_leaves_a_checkpoint_and_the_same_command_goes_on(base_folder, chats, unseen, tmp_path):
    out, said = tmp_path / "out", tmp_path / "stderr"
    words = [chats, "--base-model", base_folder, "--valid", unseen, "--out", out, "--max-seq-len", 64]
    words = [str(word) for word in [*words, "--batch-size", 3, "--max-steps", 400]]
    process = processes.start(processes.train_command, words, said)
    assert processes.when_steps(process, tmp_path / "out.partial", 3, signal.SIGINT)
    assert processes.ended(process) == 130
    assert "The same command continues the run" in said.read_text()
    assert "Traceback" not in said.read_text()
    state = json.loads((tmp_path / "out.partial" / "checkpoint" / "state.json").read_text())
    made = steps(tmp_path / "out.partial" / "metrics.jsonl")
    assert state["step"] == made[-1][0] >= 3
    assert not out.exists()
    process = processes.start(processes.train_command, words, said)
    assert processes.when_steps(process, tmp_path / "out.partial", len(made) + 2, signal.SIGINT)
    assert processes.ended(process) == 130
    assert steps(tmp_path / "out.partial" / "metrics.jsonl")[: len(made)] == made


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_the_command_leaves_a_checkpoint(base_folder, chats, unseen, tmp_path, sent):
    """A service manager that stops, a container that is killed, a terminal that closes."""
    out, said = tmp_path / "out", tmp_path / "stderr"
    words = [chats, "--base-model", base_folder, "--valid", unseen, "--out", out, "--max-seq-len", 64]
    words = [str(word) for word in [*words, "--batch-size", 3, "--max-steps", 400, "--evaluation", "none"]]
    process = processes.start(processes.train_command, words, said)
    assert processes.when_steps(process, tmp_path / "out.partial", 3, sent)
    assert processes.ended(process) == 128 + sent
    assert "The same command continues the run" in said.read_text()
    state = json.loads((tmp_path / "out.partial" / "checkpoint" / "state.json").read_text())
    assert state["step"] >= 3


class Signalling(TrainerHook):
    """Sends a signal in the middle of a step: after its first micro-batch."""

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


class TestInterrupted:
    def test_a_step_that_is_interrupted_is_made_again(self, values, tmp_path, monkeypatch):
        said = long_run(values, max_steps=6, micro_batch_size=1, neftune_noise_alpha=5.0)
        run({**said, "out": str(tmp_path / "whole")})
        again = {**said, "out": str(tmp_path / "stopped")}
        with pytest.raises(TrainingInterrupted) as caught:
            run(again, hooks=[Signalling(monkeypatch, at=4)])
        assert caught.value.exit_code == 128 + signal.SIGTERM
        state = json.loads((tmp_path / "stopped.partial" / "checkpoint" / "state.json").read_text())
        assert state["step"] == 4
        run(again)
        one, other = weights(tmp_path / "whole"), weights(tmp_path / "stopped")
        assert all(torch.equal(one[name], other[name]) for name in one)

    def test_a_validation_that_is_interrupted_is_made_again(self, values, tmp_path):
        said = long_run(values, max_steps=9, eval_steps=3, save_steps=3)
        run({**said, "out": str(tmp_path / "whole")})
        again = {**said, "out": str(tmp_path / "stopped")}
        for at in (3, 6):
            with pytest.raises(KeyboardInterrupt):
                run(again, hooks=[Interrupting(at=at)])
            state = json.loads((tmp_path / "stopped.partial" / "checkpoint" / "state.json").read_text())
            assert (state["step"], state["validated"]) == (at, at - 3)
        run(again)
        one, other = weights(tmp_path / "whole"), weights(tmp_path / "stopped")
        assert all(torch.equal(one[name], other[name]) for name in one)
        read = [validations(tmp_path / name / "metrics.jsonl") for name in ("whole", "stopped")]
        assert read[0] == read[1]

    def test_a_checkpoint_is_written_by_the_clock(self, values, tmp_path):
        """One that is killed outright loses no more than that."""

        class Killed(TrainerHook):
            def on_step_end(self, report):
                if report.step == 4:
                    raise RuntimeError("killed")

        said = long_run(values, max_steps=6, save_steps=100, save_interval_minutes=1e-6)
        run({**said, "out": str(tmp_path / "whole")})
        again = {**said, "out": str(tmp_path / "stopped")}
        with pytest.raises(RuntimeError, match="killed"):
            run(again, hooks=[Killed()])
        state = json.loads((tmp_path / "stopped.partial" / "checkpoint" / "state.json").read_text())
        assert 1 <= state["step"] <= 3  # writing takes a bounded share of the time
        run(again)
        one, other = weights(tmp_path / "whole"), weights(tmp_path / "stopped")
        assert all(torch.equal(one[name], other[name]) for name in one)

    def test_the_step_is_finished_and_nothing_is_lost(self, interrupted, tmp_path):
        said = interrupted()
        state = json.loads((tmp_path / "out.partial" / "checkpoint" / "state.json").read_text())
        assert state["step"] == 5
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert run(said).steps == 8
        assert curve(tmp_path / "out" / "tensorboard") == list(range(1, 9))
        assert not (tmp_path / "out.partial").exists()

    def test_a_second_ctrl_c_does_not_wait(self, values, tmp_path):
        class Impatient(Interrupting):
            def on_step_end(self, report):
                super().step(report)
                super().step(report)

        with pytest.raises(KeyboardInterrupt):
            run(long_run(values, max_steps=8), hooks=[Impatient(at=5)])
        state = json.loads((tmp_path / "out.partial" / "checkpoint" / "state.json").read_text())
        assert state["step"] == 3

    def test_where_interrupts_are_ignored_they_stay_so(self, values):
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            assert run(long_run(values, max_steps=6), hooks=[Interrupting(at=5)]).steps == 6
        finally:
            signal.signal(signal.SIGINT, before)

    def test_another_recipe_is_refused(self, interrupted):
        said = interrupted()
        with pytest.raises(InvalidParameter, match=r"unfinished run of another recipe.*--restart"):
            run(long_run(said, max_steps=8, learning_rate=0.001))

    def test_other_data_is_refused(self, interrupted, chats, tmp_path):
        said = interrupted()
        grown = tmp_path / "grown.jsonl"
        shutil.copy(chats, grown)
        said["data"]["train"] = str(grown)
        with pytest.raises(KeyboardInterrupt):
            run(said, restart=True, hooks=[Interrupting(at=5)])
        with grown.open("a") as file:
            file.write(grown.read_text().splitlines()[0].replace("lamp", "tram") + "\n")
        with pytest.raises(InvalidParameter, match=r"the data has changed since.*--restart"):
            run(said)

    def test_restart_throws_it_away(self, interrupted, tmp_path):
        said = long_run(interrupted(), max_steps=8, learning_rate=0.001)
        run(said, restart=True)
        metrics = steps(tmp_path / "out" / "metrics.jsonl")
        assert [step for step, _ in metrics] == list(range(1, 9))
        kept = yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text())
        assert kept["training"]["learning_rate"] == 0.001

    def test_a_refused_restart_throws_nothing_away(self, interrupted, tmp_path):
        said = interrupted()
        with pytest.raises(InvalidParameter, match="no objective"):
            run({**said, "objective": "sfd"}, restart=True)
        assert (tmp_path / "out.partial" / "checkpoint").is_dir()

    def test_what_was_left_before_the_first_checkpoint_does_not_come_back(self, values, tmp_path):
        """Best weights of another recipe, kept before its first step, are not those of this run."""

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


class TestOut:
    def test_a_folder_that_exists_is_refused_before_anything_is_read(self, values, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "config.json").write_text("{}")
        values["data"]["train"] = "not there"
        with pytest.raises(InvalidParameter, match=r"exists already.*--overwrite"):
            run(values)

    def test_overwrite_replaces_it_at_the_very_end(self, values, tmp_path):
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

    def test_what_is_no_model_is_never_overwritten(self, values, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "thesis.tex").write_text("years of work")
        with pytest.raises(InvalidParameter, match="not a model folder"):
            run(values, overwrite=True)
        assert (tmp_path / "out" / "thesis.tex").is_file()

    @pytest.mark.parametrize("out", [".", "..", "/"])
    def test_out_is_a_name(self, values, out, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InvalidParameter, match="must name a new folder"):
            run({**values, "out": out}, overwrite=True)

    def test_somebody_elses_files_in_the_work_folder_stay_until_the_end_comes(self, values, tmp_path):
        work = tmp_path / "out.partial"
        work.mkdir()
        (work / "note.txt").write_text("mine")

        class Stop(Interrupting):
            def on_step_end(self, report):
                assert (work / "note.txt").is_file()
                raise RuntimeError("killed")

        with pytest.raises(RuntimeError, match="killed"):
            run(values, hooks=[Stop(0)])


def test_two_trainings_into_one_folder_are_refused(values, tmp_path):
    recipe = parse_recipe(values, origin="test")

    class Second(TrainerHook):
        def on_step_end(self, report):
            if report.step == 1:
                other = parse_recipe(long_run(values, max_steps=3), origin="test")
                message = rf"Another training is writing to .* \(process {os.getpid()}\)"
                with pytest.raises(InvalidParameter, match=message):
                    run_recipe(other, device=CPU, restart=True)

    run_recipe(recipe, device=CPU, hooks=[Second()])
    kept = yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text())
    assert kept["training"]["max_steps"] == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
