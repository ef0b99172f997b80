"""Hyperparameter search: pruning, resuming, and the best model."""

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
    pytest.mark.usefixtures("no_loss_plot", "one_thread"),
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def search_recipe(values, **changes):
    training = {**values["training"], "max_steps": 6, "eval_steps": 2, "early_stopping_patience": 0}
    return parse_recipe({**values, "training": training, **changes}, origin="test")


@pytest.mark.costly
def test_the_output_folder_has_the_best_trial(values, tmp_path):
    tried = []
    result = run_hpo(search_recipe(values), trials=4, device=CPU, on_trial=lambda *trial: tried.append(trial))
    assert [number for number, _, _ in tried] == [0, 1, 2, 3]
    losses = [loss for _, _, loss in tried if loss is not None]
    assert result.loss == min(losses)
    out = tmp_path / "out"
    assert json.loads((out / "result.json").read_text())["loss"]["valid_after"] == pytest.approx(result.loss)
    training = yaml.safe_load((out / "recipe.yaml").read_text())["training"]
    assert training["learning_rate"] == result.values["learning_rate"]
    assert training["batch_size"] == result.values["batch_size"]
    assert yaml.safe_load((out / "recipe.yaml").read_text())["out"] == str(out)
    assert "# out\n" in (out / "README.md").read_text()
    search = json.loads((out / "search.json").read_text())
    assert [trial["number"] for trial in search["trials"]] == [0, 1, 2, 3]
    assert (out / "search.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


@pytest.mark.costly
def test_a_trial_above_the_median_loss_is_pruned(values, monkeypatch):
    """Later trials have learning rates that are too small."""
    propose = searching._propose

    def hopeless(trial, recipe):
        return {**propose(trial, recipe), "learning_rate": 0.01 if trial.number < 4 else 1e-8}

    monkeypatch.setattr(searching, "_propose", hopeless)
    tried = []
    result = run_hpo(search_recipe(values), trials=6, device=CPU, on_trial=lambda *trial: tried.append(trial))
    assert (result.trials, result.pruned) == (6, 2)
    assert [loss is None for _, _, loss in tried] == [False] * 4 + [True] * 2


@pytest.mark.costly
def test_an_interrupted_search_continues_with_the_remaining_trials(values, tmp_path):
    recipe, tried = search_recipe(values), []

    def stop(number, settings, loss):
        tried.append((number, settings, loss))
        if len(tried) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_hpo(recipe, trials=4, device=CPU, on_trial=stop)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InvalidParameter, match="unfinished search of another recipe"):
        run_hpo(search_recipe(values, method={"name": "freeze", "last_layers": 1}), trials=4, device=CPU)
    result = run_hpo(recipe, trials=4, device=CPU, on_trial=stop)
    assert result.trials == 4
    assert [number for number, _, _ in tried] == [0, 1, 2, 3]  # a trial that was reported is not repeated
    assert load_file(tmp_path / "out" / "model.safetensors")


@pytest.mark.costly
def test_an_interrupted_trial_continues_from_its_checkpoint(values, tmp_path):
    """The search has the same trials and result as an uninterrupted one."""
    uninterrupted, stopped = [], []
    run_hpo(
        search_recipe(values, out=str(tmp_path / "whole")),
        trials=3,
        device=CPU,
        on_trial=lambda *t: uninterrupted.append(t),
    )
    recipe, steps, run = search_recipe(values), [], searching.run_recipe

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
    assert stopped == uninterrupted


@pytest.mark.costly
def test_a_completed_trial_is_not_run_again(values, tmp_path, monkeypatch):
    """The process ends after the trial's folder is written and before its loss is stored."""
    recipe = search_recipe(values)
    with monkeypatch.context() as patch:
        patch.setattr(searching, "_validation_loss", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_hpo(recipe, trials=1, device=CPU)
    monkeypatch.setattr(searching, "run_recipe", lambda *_, **__: 1 / 0)
    assert run_hpo(recipe, trials=1, device=CPU).trials == 1
    assert (tmp_path / "out" / "model.safetensors").is_file()


@pytest.mark.costly
def test_a_search_does_not_touch_an_unfinished_run_of_the_same_name(values, tmp_path):
    checkpoint = tmp_path / "out.partial" / "checkpoint"
    checkpoint.mkdir(parents=True)
    run_hpo(search_recipe(values), trials=1, device=CPU)
    assert checkpoint.is_dir()


@pytest.mark.costly
def test_the_rank_of_lora_is_searched_too(values):
    recipe = search_recipe(values, method={"name": "lora", "alpha": 8})
    result = run_hpo(recipe, trials=1, device=CPU)
    assert result.values["rank"] in searching.METHOD_OPTIONS["lora"][1]


@pytest.mark.costly
def test_a_search_without_trainable_weights_or_validation_data_is_rejected(values, chats):
    with pytest.raises(InvalidParameter, match="needs a method that trains weights"):
        run_hpo(search_recipe(values, method={"name": "prompt", "shots": 1}), trials=1, device=CPU)
    with pytest.raises(InvalidData, match="needs validation data"):
        run_hpo(search_recipe(values, data={"train": str(chats), "valid_fraction": 0}), trials=1, device=CPU)
