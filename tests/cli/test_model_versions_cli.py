"""`turnwise models versions`, `show`, `history`, `diff`, `add`, `promote`, `rollback`, `retire`, `export`, `prune`."""

import json
import shutil

import pytest
import yaml

from turnwise.app.model_versions.version_library import open_version_library
from turnwise.cli.version_completion import complete_version, complete_versioned_model


@pytest.fixture
def run_folder(tmp_path, model_folder):
    """A model folder as `turnwise train` leaves it, with a recipe."""
    folder = tmp_path / "runs" / "mine"
    shutil.copytree(model_folder, folder)
    (tmp_path / "talks.jsonl").write_text('{"messages": []}\n')
    values = {
        "model": {"from": str(model_folder)},
        "data": {"train": [{"path": str(tmp_path / "talks.jsonl")}]},
        "training": {"learning_rate": 0.001},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values))
    return folder


@pytest.fixture
def two_versions(turnwise, run_folder):
    """turnwise-box@1, the bundled model, serves; turnwise-box@2 is a candidate."""
    assert turnwise("models", "add", "tiny", run_folder, "--reason", "A first attempt.")[0] == 0


def set_scorecard(number, scorecard, *, has_passed_gate):
    with open_version_library() as library:
        library.registry.set_scorecard("turnwise-box", number, scorecard, has_passed_gate=has_passed_gate)


def lines(out):
    return [line.split() for line in out.splitlines()]


def test_an_empty_registry_says_how_to_add_a_version(turnwise):
    code, out, err = turnwise("models", "versions")
    assert (code, out) == (0, "")
    assert "turnwise models add MODEL RUN" in err


def test_add_makes_a_candidate_beside_the_bundled_model(turnwise, run_folder):
    code, out, err = turnwise("models", "add", "tiny", run_folder, "--reason", "A first attempt.")
    assert (code, out) == (0, "")
    assert err == "turnwise-box@2 is a candidate. Chat with it: turnwise chat turnwise-box@2\n"
    code, out, _ = turnwise("models", "versions", "tiny")
    assert code == 0
    assert [line[:2] for line in lines(out)] == [
        ["VERSION", "STATE"], ["turnwise-box@1", "serving"], ["turnwise-box@2", "candidate"],
    ]  # fmt: skip
    assert out.splitlines()[2].endswith("A first attempt.")
    (first, second) = json.loads(turnwise("models", "versions", "--json")[1])
    assert (first["version"], first["has_passed_gate"]) == ("turnwise-box@1", None)
    assert (second["state"], second["contributors"], second["reason"]) == ("candidate", 0, "A first attempt.")


def test_a_new_name_starts_with_the_run_itself(turnwise, run_folder, tmp_path):
    (tmp_path / "talks.jsonl").unlink()
    code, _, err = turnwise("models", "add", "mine", run_folder, "--reason", "r", "--move")
    assert code == 0
    assert f"Note: {tmp_path / 'talks.jsonl'} of its recipe does not exist, so mine@1 cannot be rebuilt." in err
    assert "mine@1 serves, because it is the first version" in err
    assert not run_folder.exists()


def test_promotion_of_a_version_that_was_not_evaluated_needs_force(turnwise, two_versions):
    promote = ("models", "promote", "turnwise-box@2", "--reason", "It is better.")
    code, _, err = turnwise(*promote)
    assert code == 2
    assert "turnwise-box@2 was not evaluated by the gate. Pass --force" in err
    set_scorecard(2, {"win_rate": 0.4}, has_passed_gate=False)
    assert "turnwise-box@2 failed the gate. Pass --force" in turnwise(*promote)[2]
    assert "failed the gate" in turnwise(*promote, "--canary", "10%")[2]
    assert turnwise(*promote, "--force")[0] == 0
    events = json.loads(turnwise("models", "history", "tiny", "--json")[1])
    assert events[-1]["reason"] == "It is better. (forced: it has not passed the gate)"
    assert (events[-1]["version"], events[-1]["state"], events[-1]["actor"]) == (2, "serving", "person")


def test_a_shadow_harms_nobody_and_needs_no_force(turnwise, two_versions):
    code, _, err = turnwise("models", "promote", "turnwise-box@2", "--shadow", "--reason", "To compare.")
    assert (code, err) == (0, "turnwise-box@2 answers a copy of the requests; nobody sees its answers.\n")


def test_from_canary_to_serving_and_back(turnwise, two_versions):
    set_scorecard(2, {"win_rate": 0.6}, has_passed_gate=True)
    promote = ("models", "promote", "turnwise-box@latest", "--reason", "Better.")
    assert json.loads(turnwise(*promote, "--canary", "10%", "--json")[1]) == {
        "version": "turnwise-box@2", "state": "canary", "share": 0.1,
    }  # fmt: skip
    assert "canary 0.1" in turnwise("models", "versions")[1]
    assert "answers 0.5 of the conversations" in turnwise(*promote, "--canary", "0.5")[2]
    assert turnwise(*promote)[2] == ("turnwise-box@2 serves now. To go back: turnwise models rollback turnwise-box\n")
    assert turnwise("models", "rollback", "tiny")[2].startswith("turnwise-box@1 serves now.")
    code, _, err = turnwise("models", "rollback", "tiny")
    assert code == 1
    assert "No version of turnwise-box served before" in err
    assert turnwise("models", "promote", "tiny@2", "--reason", "Again.")[0] == 0, "it has passed the gate"
    assert turnwise("models", "promote", "tiny@1", "--reason", "Back.")[0] == 0, "it has served before"


@pytest.mark.parametrize("share", ["0", "100%", "1", "-5%", "ten", "nan", "%"])
def test_a_share_that_is_none_is_refused(turnwise, two_versions, share):
    code, _, err = turnwise("models", "promote", "tiny@2", "--canary", share, "--reason", "r")
    assert code == 2
    assert "--canary should be a share such as 10% or 0.1" in err


def test_mistakes_get_one_sentence(turnwise, two_versions):
    for arguments, message in [
        (("promote", "tiny", "--reason", "r"), "Write NAME@NUMBER, NAME@stable or NAME@latest."),
        (("promote", "tiny@7", "--reason", "r"), "There is no version 7 of turnwise-box."),
        (("promote", "tiny@2", "--canary", "10%", "--shadow", "--reason", "r"), "cannot be used together"),
        (("promote", "tiny@1", "--reason", "r"), "turnwise-box@1 is in the state 'serving' already."),
        (("retire", "tiny@1", "--reason", "r"), "turnwise-box@1 serves. Promote another version or roll back"),
        (("rollback", "nobody"), "nobody has no versions. Models with versions: turnwise-box."),
        (("history", "tiny", "--at", "yesterday"), "--at should be a time such as 2026-11-30T12:00"),
        (("add", "mine", "missing", "--reason", "r"), "missing holds no model"),
        (("show", "tiny@9"), "There is no version 9 of turnwise-box."),
    ]:
        code, _, err = turnwise("models", *arguments)
        assert code in (1, 2)
        assert err.startswith("Error: ")
        assert message in err
        assert err.count("\n") == 1


def test_a_rejected_candidate_is_retired(turnwise, two_versions):
    assert turnwise("models", "retire", "tiny@2", "--reason", "Worse.") == (0, "", "turnwise-box@2 is retired.\n")


def test_history_tells_who_did_what_and_what_served_when(turnwise, two_versions):
    turnwise("models", "promote", "tiny@2", "--force", "--reason", "Better.")
    code, out, _ = turnwise("models", "history", "tiny")
    assert code == 0
    forced = "Better. (forced: it has not passed the gate)"
    assert [" ".join(line.split("UTC ")[1].split()) for line in out.splitlines()[1:]] == [
        "@1 serving person The first version is the model tiny.",
        "@2 candidate person A first attempt.",
        f"@1 serving → retired person {forced}",
        f"@2 candidate → serving person {forced}",
    ]
    assert json.loads(turnwise("models", "history", "tiny", "--at", "2100-01-01", "--json")[1])["version"] == (
        "turnwise-box@2"
    )
    assert "turnwise-box@2" in turnwise("models", "history", "tiny", "--at", "4102444800")[1]
    assert turnwise("models", "history", "tiny", "--at", "2020-01-01T12:00+02:00")[1] == (
        "No version of turnwise-box served at 2020-01-01T12:00+02:00.\n"
    )


def test_show_describes_a_version_and_detects_damage(turnwise, two_versions, tmp_path):
    set_scorecard(2, {"headline": {"win_rate": 0.625}, "answers": 99}, has_passed_gate=True)
    folder = tmp_path / "home" / "versions" / "turnwise-box" / "2"
    description = json.loads(turnwise("models", "show", "tiny@2", "--json")[1])
    assert description["path"] == str(folder)
    assert description["data_sha256"].keys() == {"data/1-talks.jsonl"}
    assert description["figures"] == {"win_rate": 0.625}
    assert [event["state"] for event in description["history"]] == ["candidate"]
    out = turnwise("models", "show", "turnwise-box@2")[1]
    assert "win_rate" in out
    assert str(folder) in out
    (folder / "model.safetensors").write_bytes(b"damaged")
    description = json.loads(turnwise("models", "show", "tiny@2", "--json")[1])
    assert description["path"] is None
    assert "damaged or were changed" in description["error"]
    assert "not usable" in turnwise("models", "show", "tiny@2")[1]
    code, _, err = turnwise("models", "promote", "tiny@2", "--reason", "r")
    assert code == 2
    assert "not those of turnwise-box@2" in err


def test_show_of_a_bundled_model_is_as_before(turnwise):
    assert json.loads(turnwise("models", "show", "tiny", "--json")[1])["context_length"] == 1024


def test_diff_lists_what_differs(turnwise, two_versions, run_folder):
    values = yaml.safe_load((run_folder / "recipe.yaml").read_text())
    values["training"]["learning_rate"] = 0.002
    (run_folder / "recipe.yaml").write_text(yaml.safe_dump(values))
    turnwise("models", "add", "tiny", run_folder, "--reason", "A higher rate.")
    set_scorecard(3, {"win_rate": 0.7}, has_passed_gate=True)
    code, out, _ = turnwise("models", "diff", "tiny@2", "tiny@3")
    assert code == 0
    assert lines(out) == [
        ["recipe"], ["turnwise-box@2", "turnwise-box@3"], ["training.learning_rate", "0.001", "0.002"],
        ["figures"], ["turnwise-box@2", "turnwise-box@3"], ["win_rate", "–", "0.7"],
    ]  # fmt: skip
    assert json.loads(turnwise("models", "diff", "tiny@2", "tiny@3", "--json")[1])["recipe"] == {
        "training.learning_rate": [0.001, 0.002]
    }
    assert "have the same recipe" in turnwise("models", "diff", "tiny@2", "tiny@2")[1]


@pytest.mark.costly
def test_export_writes_a_folder_or_a_gguf_file(turnwise, two_versions, tmp_path):
    assert turnwise("models", "export", "tiny@1", tmp_path / "out")[0] == 0
    assert (tmp_path / "out" / "config.json").is_file()
    code, _, err = turnwise("models", "export", "tiny@1", tmp_path / "out")
    assert code == 2
    assert "exists already" in err
    assert turnwise("models", "export", "tiny@1", tmp_path / "files", "--gguf", "q8_0")[0] == 0
    assert (tmp_path / "files" / "turnwise-box-1.q8_0.gguf").stat().st_size > 1e6


def test_prune_asks_and_deletes_old_retired_versions(turnwise, two_versions, tmp_path, run_folder, monkeypatch):
    for number in (3, 4):
        turnwise("models", "add", "tiny", run_folder, "--reason", "r")
        turnwise("models", "retire", f"tiny@{number}", "--reason", "r")
    folder = tmp_path / "home" / "versions" / "turnwise-box"
    assert "no retired versions to delete" in turnwise("models", "prune", "tiny")[2]
    monkeypatch.setattr("typer.confirm", lambda question, abort: pytest.fail(question))
    with pytest.raises(pytest.fail.Exception, match="Delete the weights and data of turnwise-box@3"):
        turnwise("models", "prune", "tiny", "--keep", "1")
    assert (folder / "3").is_dir()
    assert turnwise("models", "prune", "tiny", "--keep", "1", "--yes") == (0, "", "turnwise-box@3 is deleted.\n")
    assert sorted(path.name for path in folder.iterdir()) == ["2", "4"]
    assert "deleted" in turnwise("models", "versions", "tiny")[1]


def test_models_and_versions_are_completed(turnwise, tmp_path):
    assert complete_version("t") == []
    assert not (tmp_path / "home").exists(), "completion creates no file"
    with open_version_library() as library:
        library.ensure_first("tiny")
    assert complete_version("turn") == ["turnwise-box@1"]
    assert complete_versioned_model("turn") == ["turnwise-box"]
    assert complete_version("x") == []


@pytest.mark.slow
def test_rebuild_compares_the_weights_of_a_real_training(turnwise, tmp_path, model_folder, one_thread):
    data = tmp_path / "talks.jsonl"
    turns = [{"role": "user", "content": "Where is it?"}, {"role": "assistant", "content": "On its way."}]
    data.write_text(f"{json.dumps({'messages': turns})}\n" * 4)
    flags = ("--max-steps", 2, "--max-seq-len", 64, "--evaluation", "none", "--batch-size", 2)
    assert turnwise("train", data, "--base-model", model_folder, "--out", tmp_path / "run", *flags)[0] == 0
    turnwise("models", "add", "mine", tmp_path / "run", "--reason", "r")
    code, out, err = turnwise("models", "rebuild", "mine@1")
    assert (code, err.splitlines()[0]) == (0, "Training mine@1 again …")
    assert out.startswith("The weights are those of mine@1: ")
    recipe = tmp_path / "home" / "versions" / "mine" / "1" / "data" / "1-talks.jsonl"
    recipe.write_text(recipe.read_text() * 2)
    code, _, err = turnwise("models", "rebuild", "mine@1")
    assert code == 2
    assert "The training data of mine@1 have changed" in err
