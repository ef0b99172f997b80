"""The folders of the stages of a training: each stage runs once, and nothing but the model is left."""

from pathlib import Path

import pytest

from turnwise.app.model_names import resolve_model_folder
from turnwise.improve.build import build_model
from turnwise.improve.settings import TuningSettings
from turnwise.improve.training_data import PLAN_FILE, TrainingPlan
from turnwise.models.model_folders import weights_digest


@pytest.fixture
def data(tmp_path):
    """Training data of two stages."""
    base = resolve_model_folder("tiny")
    plan = TrainingPlan(
        base="tiny", base_sha256=weights_digest(base), stages=("corrections", "preferences"), tuning=TuningSettings()
    )
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / PLAN_FILE).write_text(plan.model_dump_json(), encoding="utf-8")
    return tmp_path / "data"


@pytest.fixture
def runs(monkeypatch):
    """Names of the output folders of the trainings, which train nothing."""
    names = []

    def run(recipe, **_):
        out = Path(recipe.out)
        names.append(out.name)
        out.mkdir()
        out.with_name(f"{out.name}.partial").mkdir()  # as a process leaves it that is killed at the end

    monkeypatch.setattr("turnwise.improve.build.run_recipe", run)
    return names


def folders(path):
    return sorted(entry.name for entry in path.iterdir())


def test_only_the_model_of_the_last_stage_is_left(data, runs, tmp_path):
    build_model(data, tmp_path / "model")
    assert runs == ["model-corrections", "model"]
    assert folders(tmp_path) == ["data", "model"]


def test_a_complete_stage_is_not_trained_again(data, runs, tmp_path):
    (tmp_path / "model-corrections").mkdir()
    build_model(data, tmp_path / "model")
    assert runs == ["model"]


def test_a_complete_model_is_only_tidied_up(data, runs, tmp_path):
    for name in ("model", "model.partial", "model-corrections", "model-corrections.partial"):
        (tmp_path / name).mkdir()
    build_model(data, tmp_path / "model")
    assert runs == []
    assert folders(tmp_path) == ["data", "model"]
