"""The training half of the adversarial experiment: arms, validations and names of folders."""

import importlib.util
from pathlib import Path

import pytest

from turnwise.core.errors import InvalidParameter

FOLDER = Path(__file__).parents[2] / "recipes" / "adversarial"


@pytest.fixture(scope="module")
def run():
    """The script `run.py`."""
    spec = importlib.util.spec_from_file_location("adversarial_run", FOLDER / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_arm_is_a_recipe_that_differs_from_the_others_in_its_objective(run, tmp_path):
    experiment = run.Experiment(tmp_path, tmp_path, "tiny", "lora", 8, 384)
    recipes = [
        experiment.recipe(f"{name}-0", "tiny", arm["objective"], 0, **run.TRAINING["lora"])
        for name, arm in run.read_arms().items()
    ]
    assert len({str(recipe.objective) for recipe in recipes}) == len(recipes)
    assert len({recipe.training.model_dump_json() for recipe in recipes}) == 1


@pytest.mark.parametrize("steps", [6, 7, 11, 17, 25, 60, 301, 1000])
def test_no_arm_has_more_validations_than_the_others_can_have(run, steps):
    interval = run.validation_interval(steps)
    count = sum(step % interval == 0 or step == steps for step in range(1, steps + 1))
    assert 4 <= count <= run.MAX_VALIDATIONS


def test_an_arm_whose_warm_up_takes_all_the_time_is_refused(run, tmp_path):
    experiment = run.Experiment(tmp_path, tmp_path, "tiny", "full", 8, 384)
    assert experiment.num_steps("sft_continued-0", 0.0, 2.8) == 171
    with pytest.raises(InvalidParameter, match=r"warm-up takes 8\.1 minutes .* Pass --minutes 11 or more"):
        experiment.num_steps("best_of_n-0", 487.3, 4.2)


def test_an_arm_that_does_not_exist_is_rejected(run, capsys):
    with pytest.raises(SystemExit):
        run.parse_arguments(["data", "out", "--arms", "adversarail"])
    assert "adversarial" in capsys.readouterr().err
