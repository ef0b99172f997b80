"""The classifier beside the phrases of `safety.yaml`: what the entry accepts, and which line a message gets."""

import pytest

from turnwise.core.errors import InvalidData
from turnwise.scenarios.checks import run_checks
from turnwise.scenarios.loader import load_scenario
from turnwise.scenarios.message_classifier import EmergencyPrediction
from turnwise.scenarios.safety_matching import SafetyClassifierSettings

SAFETY = """
    classifier: {name: emergencies, unsure: general}
    shock:
      phrases: {en: [electric shock], zh: [触电]}
      say: {en: Call 112., zh: 请打 120。}
    general:
      say: {en: This may be serious. Call 112., zh: 可能很严重，请打 120。}
    """


def prediction_of(kind):
    return EmergencyPrediction(0.9, 0.5, kind)


def test_a_phrase_comes_before_the_classifier(lamp_shop):
    scenario = load_scenario(lamp_shop(safety=SAFETY))
    match = scenario.match_safety("he got an electric shock and he is not breathing")
    assert (match.name, match.phrase) == ("shock", "electric shock")


def test_an_emergency_without_a_phrase_gets_the_general_line_if_its_kind_has_none(lamp_shop):
    scenario = load_scenario(lamp_shop(safety=SAFETY))
    match, prediction = scenario.classify_safety("my dad is bleeding badly and barely breathing, he passed out")
    assert (match.name, match.phrase) == ("general", None)
    assert prediction.probability >= prediction.threshold
    assert scenario.match_safety("which lamp fits my kitchen") is None


def test_without_the_entry_nothing_is_classified(lamp_shop):
    scenario = load_scenario(lamp_shop())
    assert scenario.classify_safety("he is not breathing") == (None, None)


def test_the_line_of_a_kind_is_the_one_that_is_named_else_its_own_else_the_general_one():
    settings = SafetyClassifierSettings(name="emergencies", unsure="general", lines={"burn": "heat"})
    lines = dict.fromkeys(("general", "heat", "choking"))
    names = {kind: settings.line_of(prediction_of(kind), lines) for kind in ("burn", "choking", "stroke", None)}
    assert names == {"burn": "heat", "choking": "choking", "stroke": "general", None: "general"}


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("name: emergencies", "name: emergency", "there is no classifier 'emergency'.*emergencies"),
        ("unsure: general", "unsure: genral", "no 'genral'.*general"),
        ("unsure: general", "unsure: general, lines: {chokin: shock}", "no kind is called 'chokin'.*choking"),
        ("unsure: general", "unsure: general, treshold: 1", "treshold"),
        ("unsure: general", "unsure: shock", "'general' needs 'phrases'"),
    ],
)
def test_an_invalid_entry_is_rejected_with_the_reason(lamp_shop, old, new, problem):
    with pytest.raises(InvalidData, match=f"safety.yaml.*{problem}"):
        load_scenario(lamp_shop(safety=SAFETY.replace(old, new)))


def test_a_line_needs_phrases_if_there_is_no_classifier(lamp_shop):
    with pytest.raises(InvalidData, match="'shock' needs 'phrases'"):
        load_scenario(lamp_shop(safety="shock: {say: {en: Call 112., zh: 请打 120。}}"))


def test_the_check_reports_an_example_that_the_classifier_takes_for_an_emergency(lamp_shop):
    intents = """
        order_status: {examples: {en: [my dad collapsed and he is bleeding badly and not breathing], zh: [发货了吗]}}
        returns: {examples: {en: [I want to send it back], zh: [我想退货]}}
        """
    scenario = load_scenario(lamp_shop(safety=SAFETY, intents=intents))
    findings = [finding for finding in run_checks(scenario, ["harmless_messages"]) if finding.key == "classifier"]
    assert len(findings) == 1
    assert "my dad collapsed" in findings[0].message


def test_words_of_an_exception_are_not_read_by_the_classifier(lamp_shop):
    safety = SAFETY.replace("zh: [触电]}", "zh: [触电]}\n      exceptions: {en: [not breathing a word]}")
    scenario = load_scenario(lamp_shop(safety=safety))
    assert scenario.safety_windows("Not breathing a word, I promise you") == ["i promise you"]
    assert scenario.safety_windows("Not breathing a word, promised") == [], "one word tells nothing"
    assert scenario.safety_windows("He is not breathing.") == ["He is not breathing."]
