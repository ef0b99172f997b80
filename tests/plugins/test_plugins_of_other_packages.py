"""One plug-in of every kind in a package of another author: installing it is enough, no file of ours changes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from extra_package import MODULES, install_extra_package

import turnwise

PROGRAM = Path(__file__).with_name("use_plugins.py")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Environment variables of a process in which the extra package is installed."""
    folder = tmp_path_factory.mktemp("site")
    install_extra_package(folder)
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TURNWISE_HOME": str(folder / "home")}


def run(environment, *arguments):
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def outcome(environment, model_folder, tmp_path_factory):
    """What the program printed."""
    return json.loads(run(environment, PROGRAM, model_folder, tmp_path_factory.mktemp("work")).splitlines()[-1])


def test_every_kind_of_plugin_is_in_the_extra_package():
    """A new kind has to be added to the extra package, too."""
    source = "".join(path.read_text() for path in Path(turnwise.__file__).parent.rglob("*.py"))
    groups = set(re.findall(r'PluginGroup\(\s*"[^"]*",\s*"(\w+)"', source))
    bases = re.findall(r"PluginRegistry\(\(__name__, __path__\), (\w+)\)", source)
    recipe_kinds = {f"{base.lower()}s" for base in bases}
    assert groups | recipe_kinds == {path.partition(".")[0] for path in MODULES}


def test_a_warper_changes_what_is_sampled(outcome):
    assert outcome["sampling"]["warper"] == [70] * 4


def test_a_processor_changes_logits(outcome):
    banned = outcome["sampling"]["greedy"][0]
    assert banned not in outcome["sampling"]["processor"]


def test_a_search_decodes_instead_of_sampling(outcome):
    assert len(outcome["sampling"]["search"]) == 4
    assert outcome["sampling"]["search"] != outcome["sampling"]["greedy"]


def test_a_parameter_is_a_field_of_the_api(outcome):
    assert outcome["sampling"]["http"]
    assert outcome["sampling"]["http_error"]["param"] == "only_token"
    assert {"only_token", "never_token"} <= set(outcome["sampling"]["listed"])


def test_a_context_policy_shortens_a_conversation(outcome):
    assert outcome["sampling"]["policy"] == 2


def test_an_interaction_format_renders_a_conversation(outcome):
    assert outcome["sampling"]["format"].startswith("HELLO!<|")


def test_a_demonstration_selection_chooses_examples(outcome):
    assert outcome["sampling"]["demonstrations"] == ["one", "two"]


def test_a_model_family_opens_a_checkpoint(outcome):
    assert outcome["family"] == outcome["sampling"]["greedy"]


def test_a_container_and_a_data_format_read_a_file(outcome):
    assert outcome["data"]["dialogues"] == [["Who are you", "An owl"], ["What do you eat", "Mice"]]


def test_a_parser_reads_a_document(outcome):
    assert outcome["document"] == "Owls eat mice."


def test_a_detector_masks_what_it_detects(outcome):
    assert outcome["privacy"] == "an owl with the ring [ACCOUNT_1]"


def test_a_check_finds_something_in_a_scenario(outcome):
    assert outcome["scenario"] == ["There is no owl."]


def test_an_eraser_exports_and_erases_what_its_package_keeps(outcome):
    assert outcome["eraser"] == [{"diary_of": "key:shop/user:ann"}, 7]


def test_a_tool_call_format_is_detected(outcome):
    assert outcome["data"]["marker"] == "->"


def test_a_store_backend_opens_conversations_and_keys(outcome):
    assert outcome["data"]["titles"] == ["Attic"]
    assert outcome["data"]["keys"] == ["me"]


def test_a_metric_and_a_baseline_evaluate(environment, tmp_path):
    rows = [{"prompt": "Who?", "response": "You."}, {"prompt": "Why? Why?", "response": "Because."}] * 5
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = run(
        environment, "-m", "turnwise", "evaluate", f"parrot:{tmp_path / 'data.jsonl'}",
        "--data", tmp_path / "data.jsonl", "--metrics", "question_marks", "--json",
    )  # fmt: skip
    assert '"question_marks"' in report
    assert "1.5" in report


def test_an_objective_and_a_method_train(environment, model_folder, tmp_path):
    rows = [{"prompt": f"Who is {number}?", "response": f"It is {number}."} for number in range(40)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run(
        environment, "-m", "turnwise", "train", tmp_path / "data.jsonl", "--base-model", model_folder,
        "--out", tmp_path / "run", "--objective", "first_half", "--method", "norms_only", "--max-steps", "2",
        "--evaluation", "none",
    )  # fmt: skip
    card = (tmp_path / "run" / "README.md").read_text()
    assert "first_half" in card
    assert "norms_only" in card


def test_a_gate_rule_is_used_by_a_file_of_rules(environment, tmp_path):
    (tmp_path / "gate.yaml").write_text("rules: {mine: {rule: never, optional: true}}")
    rules = json.loads(run(environment, "-m", "turnwise", "gate", "show", "--rules", tmp_path / "gate.yaml", "--json"))
    assert rules["rules"]["mine"] == {"rule": "never", "evaluation": "held_out", "optional": True}
