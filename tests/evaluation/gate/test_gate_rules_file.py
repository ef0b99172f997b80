"""Files of rules change the default rules, by name and by model."""

import pytest
import yaml

from turnwise.core.errors import InvalidData, InvalidParameter, UserError
from turnwise.evaluation.gate.rules_file import load_gate_rules

DEFAULT = load_gate_rules().as_dict()


@pytest.fixture
def rules(tmp_path):
    """`rules(values, model)`: the rules in force with a file that holds these values."""

    def load(values, model=None):
        path = tmp_path / "gate.yaml"
        path.write_text(values if isinstance(values, str) else yaml.safe_dump(values), encoding="utf-8")
        return load_gate_rules(path, model).as_dict()

    return load


def test_the_printed_rules_are_a_file_with_the_same_rules(rules):
    assert rules(DEFAULT) == DEFAULT


def test_a_key_of_a_default_rule_can_be_changed_alone(rules):
    changed = rules({"alpha": 0.1, "rules": {"golden": {"max_share": 0.05}}})
    assert changed["alpha"] == 0.1
    assert changed["rules"]["golden"] == DEFAULT["rules"]["golden"] | {"max_share": 0.05}
    assert changed["rules"]["safety"] == DEFAULT["rules"]["safety"]


def test_null_removes_a_rule_and_a_new_name_adds_one(rules):
    changed = rules({"rules": {"length": None, "recall": {"rule": "not_worse", "metric": "recall"}}})["rules"]
    assert "length" not in changed
    assert changed["recall"] == {"rule": "not_worse", "metric": "recall", "evaluation": "held_out", "optional": False}


def test_another_kind_of_rule_starts_without_the_keys_of_the_old_one(rules):
    changed = rules({"rules": {"selection": {"rule": "not_worse", "metric": "selection"}}})["rules"]
    assert changed["selection"]["optional"] is False
    assert "max_loss" not in changed["selection"]


def test_changes_of_a_model_apply_to_it_alone(rules):
    file = {"rules": {"golden": {"max_share": 0.05}}, "models": {"shop": {"rules": {"golden": {"max_share": 0.01}}}}}
    assert rules(file)["rules"]["golden"]["max_share"] == 0.05
    assert rules(file, "shop")["rules"]["golden"]["max_share"] == 0.01
    assert rules(file, "another")["rules"]["golden"]["max_share"] == 0.05


@pytest.mark.parametrize(("values", "message"), [
    ("rules: [1]", "rules"),
    ("- 1", "should hold the keys"),
    ("alpha: 2", "alpha"),
    ("ruls: {}", "did you mean 'rules'"),
    ("rules: {golden: {max_shar: 0.1}}", "did you mean 'max_share'"),
    ("rules: {golden: {max_share: 3}}", "rules.golden.max_share"),
    ("rules: {mine: {metric: chrf}}", "needs the key 'rule', one of: improvement"),
    ("rules: {mine: {rule: not_wors}}", "did you mean 'not_worse'"),
    ("rules: {mine: {rule: max_loss, metric: chrf}}", "either 'max_loss' or 'max_relative_loss'"),
    ("rules: {length: {low: 3}}", "'low' must be at most 'high'"),
    ("rules: {lenth: null}", "no rule 'lenth' to remove"),
    (yaml.safe_dump({"rules": dict.fromkeys(DEFAULT["rules"])}), "every candidate would pass"),
    ("rules: {a: {}, a: {}}", "occurs twice"),
])  # fmt: skip
def test_mistakes_are_named(rules, values, message):
    with pytest.raises((InvalidParameter, InvalidData)) as error:
        rules(values)
    assert message in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.yaml"):
        load_gate_rules(tmp_path / "none.yaml")
