"""Every recipe that ships runs: here for two steps, on a few dialogues that the grammar of the bike shop makes."""

import json
import runpy
from pathlib import Path

import pytest
from typer.testing import CliRunner

from turnwise.cli.main import app
from turnwise.training.objectives import OBJECTIVES
from turnwise.training.recipe import load_recipe

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes" / "objectives").glob("*.yaml"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """What `prepare.py` makes of sixty dialogues."""
    folder = tmp_path_factory.mktemp("recipes")
    made = ["data", "expand", str(ROOT / "examples" / "bike_shop.yaml"), "--count", "60", "--seed", "1"]
    assert CliRunner().invoke(app, [*made, "--out", str(folder / "bikes.jsonl")]).exit_code == 0
    runpy.run_path(str(ROOT / "recipes" / "prepare.py"))["main"](folder / "bikes.jsonl", folder / "data")
    return folder / "data"


def test_there_is_one_for_every_objective():
    assert [path.stem for path in RECIPES] == OBJECTIVES.names()


@pytest.mark.costly
@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_it_runs(path, data, tmp_path, monkeypatch, one_thread):
    monkeypatch.setenv("DATA", str(data))
    monkeypatch.setattr("turnwise.training.loggers.plot_loss", lambda *_, **__: None)
    assert OBJECTIVES.plugin_name(load_recipe(path).objective) == path.stem
    out = tmp_path / "out"
    # Start from the bundled model instead of the result of an earlier recipe.
    base = ["--base-model", "box"] if load_recipe(path).model.source == "runs/sft" else []
    result = CliRunner().invoke(
        app,
        [
            "train",
            str(path),
            "--out",
            str(out),
            "--max-steps",
            "2",
            "--batch-size",
            "2",
            "--max-seq-len",
            "128",
            "--evaluation",
            "none",
            *base,
        ],
    )
    assert result.exit_code == 0, result.stderr
    assert json.loads((out / "result.json").read_text())["steps"] == 2
    assert (out / "model.safetensors").is_file()


def test_pairs_and_ratings_are_what_they_say(data):
    pairs = [json.loads(line) for line in (data / "pairs.jsonl").read_text().splitlines()]
    rated = [json.loads(line) for line in (data / "rated.jsonl").read_text().splitlines()]
    assert len(pairs) == len(rated) > 40
    assert all(pair["messages"][:-1] == pair["rejected"][:-1] for pair in pairs)
    assert all(pair["messages"][-1] != pair["rejected"][-1] for pair in pairs)
    assert [row["rating"] for row in rated[:4]] == [True, False, True, False]
