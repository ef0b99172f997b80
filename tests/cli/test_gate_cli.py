"""`turnwise gate check` reads reports of `turnwise evaluate`; `turnwise gate show` prints the rules in force."""

import json

import numpy as np
import pytest
import yaml

from turnwise.core.files import atomic_write
from turnwise.evaluation.metric import MetricDefinition
from turnwise.evaluation.scorecard import build_scorecard

HELD_OUT_RULES = {
    "rules": {
        **dict.fromkeys(["quality", "retention", "golden", "safety", "length", "repetition"]),
        "improvement": {"metric": "chrf"},
    }
}


class ChrfStandIn(MetricDefinition):
    """A metric with the name that the default rules expect."""

    NAME, LABEL, DESCRIPTION, BETTER, COUNTS_FOR_VERDICT = "chrf", "chrF", "", "higher", True


class Results:
    """Results of a system by dialogue."""

    metric = ChrfStandIn()

    def __init__(self, values):
        self.sums_GK = np.stack([values, np.ones(len(values))], axis=1)
        self.sums_SGK = self.sums_GK[None]
        self.groups = [str(number) for number in range(len(values))]


@pytest.fixture
def report(tmp_path):
    """`report(gain, name)`: a report folder of a candidate that gains so much."""

    def write(gain, name="report"):
        rng = np.random.default_rng(0)
        base = rng.random(80)
        scorecard = build_scorecard(
            {"chrf": Results(base + gain + 0.1 * rng.standard_normal(80))}, {"chrf": Results(base)}, resamples=999
        )
        atomic_write(tmp_path / name / "scorecard.json", json.dumps(scorecard.as_dict()))
        return tmp_path / name

    return write


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(HELD_OUT_RULES))
    return path


def test_a_better_candidate_is_accepted(turnwise, report, rules):
    code, out, err = turnwise("gate", "check", report(0.1), "--rules", rules)
    assert (code, err) == (0, "")
    assert "Accepted: chrF improved" in out


def test_a_candidate_without_a_gain_is_refused_with_exit_code_1(turnwise, report, rules):
    code, out, _ = turnwise("gate", "check", report(0.0), "--rules", rules)
    assert code == 1
    assert "Refused: chrF did not improve clearly" in out


def test_a_gain_that_passes_alone_is_refused_after_a_hundred_other_candidates(turnwise, report, rules):
    folder = report(0.035)
    assert turnwise("gate", "check", folder, "--rules", rules)[0] == 0
    assert turnwise("gate", "check", folder, "--rules", rules, "--cycle", 1000)[0] == 1


def test_the_retention_report_is_read_for_its_rule(turnwise, report, rules):
    forgetting = {"metric": "chrf", "max_loss": 0.05, "max_relative_loss": None, "max_bound": None}
    rules.write_text(yaml.safe_dump({"rules": {**HELD_OUT_RULES["rules"], "retention": forgetting}}))
    worse, same = report(-0.2, "worse"), report(0.0, "same")
    better = report(0.1)
    assert turnwise("gate", "check", better, "--rules", rules)[0] == 1
    assert turnwise("gate", "check", better, "--retention", worse, "--rules", rules)[0] == 1
    assert turnwise("gate", "check", better, "--retention", same, "--rules", rules)[0] == 0


def test_json_is_the_decision(turnwise, report, rules):
    _, out, _ = turnwise("gate", "check", report(0.1), "--rules", rules, "--json")
    decision = json.loads(out)
    assert decision["has_passed"] is True
    assert {result["name"] for result in decision["results"]} == {"improvement", "selection", "typos"}


def test_the_file_in_the_home_folder_is_in_force(turnwise, tmp_path):
    assert "alpha: 0.05" in turnwise("gate", "show")[1]
    atomic_write(tmp_path / "home" / "gate.yaml", "alpha: 0.2\nmodels: {shop: {alpha: 0.01}}\n")
    assert "alpha: 0.2" in turnwise("gate", "show")[1]
    assert json.loads(turnwise("gate", "show", "--model", "shop", "--json")[1])["alpha"] == 0.01


def test_show_prints_a_valid_file_of_rules(turnwise, tmp_path):
    text = turnwise("gate", "show")[1]
    path = tmp_path / "copy.yaml"
    path.write_text(text)
    assert turnwise("gate", "show", "--rules", path)[1] == text


@pytest.mark.parametrize(("content", "message"), [
    ("{", "not readable JSON"), ('{"rows": 3}', "is not a scorecard"), ('{"rows": []}', "compares nothing"),
])  # fmt: skip
def test_a_file_that_is_no_comparison_is_named(turnwise, tmp_path, content, message):
    (tmp_path / "scorecard.json").write_text(content)
    code, _, err = turnwise("gate", "check", tmp_path)
    assert code == 2
    assert message in err
