"""Test conversations of a scenario, answered by the service path: decisions are checked too."""

from contextlib import closing

import pytest

from service_scenarios import write_scenario
from turnwise.app.scenario_tests import pass_rates, run_scenario_tests
from turnwise.app.service_path_answers import answer_by_service_path
from turnwise.scenarios.loader import load_scenario
from turnwise.store import open_store
from turnwise.testing import ScriptedChatService

TESTS = """
- {id: hours, language: en, messages: [what are your opening hours], decision: 'template:opening_hours',
   must_include: [['9:00']]}
- {id: fire, language: zh, messages: [灯着火了], decision: 'safety:fire', must_include: [['119']]}
- {id: person, language: en, messages: [I want to talk to a person], decision: hand_off,
   must_include: [[A colleague takes over]]}
- {id: wrong, language: en, messages: [can I have a discount], decision: generate}
"""


@pytest.fixture
def scenario(tmp_path):
    folder = write_scenario(tmp_path / "shop")
    (folder / "tests").mkdir()
    (folder / "tests/basic.yaml").write_text(TESTS, encoding="utf-8")
    return load_scenario(folder)


def test_decisions_and_contents_of_answers_are_judged(scenario):
    done = []
    with closing(open_store("sqlite:///:memory:")) as store:
        answer = answer_by_service_path(scenario, ScriptedChatService(store=store))
        outcomes = run_scenario_tests(scenario.tests, answer, 2, done.append)
        assert len(store.handoffs.list(["waiting"], limit=10)) == 4, "each answer is in a conversation of its own"
    assert [outcome.num_passed for outcome in outcomes] == [2, 2, 2, 0]
    assert outcomes[3].errors[0] == ("the decision is refusal:discounts, not generate",)
    assert sum(done) == 8
    assert outcomes[0].answers[0].steps == ("intent: confident", "template_answer: verbatim")
    rates = {rate.label: rate.value for rate in pass_rates(outcomes, 1)}
    assert rates == {"all": 0.75, "template": 1.0, "safety": 1.0, "hand_off": 1.0, "generate": 0.0}
