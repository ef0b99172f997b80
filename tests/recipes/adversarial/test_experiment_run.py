"""Which models are measured, and a run that is interrupted."""

import json

import pytest
from booking_dialogues import booking

from turnwise.core.errors import InvalidData, UserError
from turnwise.data.jsonl_writer import write_jsonl


class TestModels:
    def test_folders_name_the_arm_and_the_seed(self, scripts, tmp_path):
        for name in ("sft-continued-1", "sft-continued-0", "adversarial-10", "notes", "data-x"):
            (tmp_path / name).mkdir()
        (tmp_path / "log-1").write_text("")
        models = scripts["experiment_arms"].find_models(tmp_path)
        assert [model.name for model in models] == ["adversarial-10", "sft-continued-0", "sft-continued-1"]
        assert list(scripts["experiment_arms"].group_by_arm(models)) == ["adversarial", "sft-continued"]

    def test_a_file_lists_the_models_of_each_arm(self, scripts, tmp_path):
        (tmp_path / "arms.yaml").write_text("arms:\n  sft: [box, runs/a]\n  spin: [runs/b]\n")
        models = scripts["experiment_arms"].find_models(tmp_path / "arms.yaml")
        assert [(model.name, model.model) for model in models] == [
            ("sft-0", "box"), ("sft-1", "runs/a"), ("spin-0", "runs/b"),
        ]  # fmt: skip

    def test_no_model_is_an_error(self, scripts, tmp_path):
        with pytest.raises(InvalidData, match="folders should be named ARM-SEED"):
            scripts["experiment_arms"].find_models(tmp_path)
        (tmp_path / "arms.yaml").write_text("arm: {}\n")
        with pytest.raises(UserError, match="unknown key 'arm'"):
            scripts["experiment_arms"].find_models(tmp_path / "arms.yaml")
        with pytest.raises(InvalidData, match="There is no folder"):
            scripts["experiment_arms"].find_models(tmp_path / "none")


@pytest.mark.costly
def test_two_models_are_measured_and_an_interrupted_run_continues(scripts, model_folder, tmp_path, monkeypatch):
    for number, name in enumerate(("test", "evaluator_train", "evaluator_valid", "generator_valid")):
        dialogues = [scripts["prepare"].cut_at_reply(booking(100 * number + index)) for index in range(24)]
        write_jsonl(tmp_path / "data" / f"{name}.jsonl", dialogues)
    (tmp_path / "arms.yaml").write_text(f"arms:\n  base: [{model_folder}]\n  again: [{model_folder}, {model_folder}]\n")
    monkeypatch.setattr(scripts["model_measurements"], "MAX_TOKENS", 6)

    def measure(reference="base"):
        scripts["measure"].main(
            scripts["measure"].parse_arguments([
                str(tmp_path / "arms.yaml"), "--data", str(tmp_path / "data"), "--reference", reference, "--out",
                str(tmp_path / "out"), "--encoder", "none", "--temperatures", "0.7", "1", "--threads", "1",
            ])
        )  # fmt: skip
        return json.loads((tmp_path / "out" / "results.json").read_text())

    results = measure()
    comparison = results["comparisons"]["again"]
    assert comparison["quality"]["value"] == 0, "two copies of the reference, on the same dialogues"
    assert comparison["evaluators"]["ngrams"]["value"] == 0
    assert comparison["length"] == 0
    assert results["human"]["chrf"] == pytest.approx(100)
    assert len(results["arms"]["again"]["models"]) == 2
    report = (tmp_path / "out" / "results.md").read_text()
    assert "- again: not shown to be better than base." in report
    assert "| human replies |" in report
    assert (tmp_path / "out" / "quality_diversity.png").read_bytes().startswith(b"\x89PNG")
    replies = [json.loads(line) for line in (tmp_path / "out" / "replies" / "again-1.jsonl").read_text().splitlines()]
    assert len(replies) == 2 * 3 * 24

    def no_jobs(engine, tokenizer, jobs, name):
        assert not jobs
        return iter(())

    monkeypatch.setattr("turnwise.evaluation.model_under_test.run_jobs", no_jobs)
    monkeypatch.setattr(scripts["measure"], "evaluator_credits", None)
    assert measure() == results
    with pytest.raises(UserError, match="no arm 'bas'"):
        measure("bas")
