"""The search over settings: it ends bad trials early, goes on after it was stopped, and leaves the best model."""

import json

import pytest
import torch
import yaml
from safetensors.torch import load_file

from turnwise.core.errors import InvalidData, InvalidParameter
from turnwise.training.hooks import TrainerHook
from turnwise.training.launch import hpo as searching
from turnwise.training.launch.hpo import run_hpo
from turnwise.training.recipe import parse_recipe

CPU = torch.device("cpu")
pytestmark = [
    pytest.mark.usefixtures("undrawn", "one_thread"),
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def said(values, **changes):
    training = {**values["training"], "max_steps": 6, "eval_steps": 2, "early_stopping_patience": 0}
    return parse_recipe({**values, "training": training, **changes}, origin="test")


def test_the_best_of_the_trials_is_what_is_left(values, tmp_path):
    tried = []
    found = run_hpo(said(values), trials=4, device=CPU, on_trial=lambda *trial: tried.append(trial))
    assert [number for number, _, _ in tried] == [0, 1, 2, 3]
    losses = [loss for _, _, loss in tried if loss is not None]
    assert found.loss == min(losses)
    out = tmp_path / "out"
    assert json.loads((out / "result.json").read_text())["loss"]["valid_after"] == pytest.approx(found.loss)
    kept = yaml.safe_load((out / "recipe.yaml").read_text())["training"]
    assert kept["learning_rate"] == found.values["learning_rate"]
    assert kept["batch_size"] == found.values["batch_size"]
    assert yaml.safe_load((out / "recipe.yaml").read_text())["out"] == str(out)
    assert "# out\n" in (out / "README.md").read_text()
    told = json.loads((out / "search.json").read_text())
    assert [trial["number"] for trial in told["trials"]] == [0, 1, 2, 3]
    assert (out / "search.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_a_trial_worse_than_most_is_ended_early(values, monkeypatch):
    """Later trials have rates at which nothing is learned."""
    propose = searching._propose

    def hopeless(trial, recipe):
        return {**propose(trial, recipe), "learning_rate": 0.01 if trial.number < 4 else 1e-8}

    monkeypatch.setattr(searching, "_propose", hopeless)
    tried = []
    found = run_hpo(said(values), trials=6, device=CPU, on_trial=lambda *trial: tried.append(trial))
    assert (found.trials, found.pruned) == (6, 2)
    assert [loss is None for _, _, loss in tried] == [False] * 4 + [True] * 2


def test_stopped_it_goes_on_with_what_is_left(values, tmp_path):
    recipe, tried = said(values), []

    def stop(number, settings, loss):
        tried.append((number, settings, loss))
        if len(tried) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_hpo(recipe, trials=4, device=CPU, on_trial=stop)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InvalidParameter, match="unfinished search of another recipe"):
        run_hpo(said(values, method={"name": "freeze", "last_layers": 1}), trials=4, device=CPU)
    found = run_hpo(recipe, trials=4, device=CPU, on_trial=stop)
    assert found.trials == 4
    assert [number for number, _, _ in tried] == [0, 1, 2, 3]  # a loss that was shown counts
    assert load_file(tmp_path / "out" / "model.safetensors")


def test_a_trial_that_is_stopped_goes_on_from_its_checkpoint(values, tmp_path):
    """The search proposes and ends as if nothing had happened."""
    whole, stopped = [], []
    run_hpo(said(values, out=str(tmp_path / "whole")), trials=3, device=CPU, on_trial=lambda *t: whole.append(t))
    recipe, steps, run = said(values), [], searching.run_recipe

    def killed(recipe, *, hooks, **more):
        class Killed(TrainerHook):
            def on_step_end(self, report):
                steps.append(report.step)
                if len(steps) == 9:  # in a later trial
                    raise RuntimeError("killed")

        return run(recipe, hooks=[*hooks, Killed()], **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "run_recipe", killed)
        with pytest.raises(RuntimeError, match="killed"):
            run_hpo(recipe, trials=3, device=CPU, on_trial=lambda *t: stopped.append(t))
        run_hpo(recipe, trials=3, device=CPU, on_trial=lambda *t: stopped.append(t))
    assert stopped == whole


def test_a_trial_that_was_complete_is_not_run_again(values, tmp_path, monkeypatch):
    """The process is killed after the model's folder appeared, and before its loss was stored."""
    recipe = said(values)
    with monkeypatch.context() as patch:
        patch.setattr(searching, "_validation_loss", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_hpo(recipe, trials=1, device=CPU)
    monkeypatch.setattr(searching, "run_recipe", lambda *_, **__: 1 / 0)
    assert run_hpo(recipe, trials=1, device=CPU).trials == 1
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_a_run_and_a_search_of_one_name_leave_each_other_alone(values, tmp_path):
    kept = tmp_path / "out.partial" / "checkpoint"
    kept.mkdir(parents=True)
    run_hpo(said(values), trials=1, device=CPU)
    assert kept.is_dir()


def test_the_sizes_of_what_is_added_are_searched_too(values):
    recipe = said(values, method={"name": "lora", "alpha": 8})
    found = run_hpo(recipe, trials=1, device=CPU)
    assert found.values["rank"] in searching.METHOD_OPTIONS["lora"][1]


def test_what_cannot_be_searched_is_refused(values, chats):
    with pytest.raises(InvalidParameter, match="needs a method that trains weights"):
        run_hpo(said(values, method={"name": "prompt", "shots": 1}), trials=1, device=CPU)
    with pytest.raises(InvalidData, match="needs validation data"):
        run_hpo(said(values, data={"train": str(chats), "valid_fraction": 0}), trials=1, device=CPU)
