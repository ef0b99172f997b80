"""The language of a message, and texts without values of slots."""

import pytest

from service_scenarios import write_scenario
from turnwise.chat.service_path.language import detect_language
from turnwise.chat.service_path.scenario_resources import value_remover
from turnwise.scenarios.loader import load_scenario


@pytest.mark.parametrize(
    ("message", "default", "language"),
    [
        ("where is my parcel", "zh", "en"), ("我的包裹到哪儿了", "en", "zh"), ("LW-123456", "zh", "zh"),
        ("12:30?", "en", "en"), ("我的order LW-123456呢", "en", "zh"), ("iPhone的充电线多少钱", "en", "zh"),
        ("", "zh", "zh"), ("ok", "zh", "en"), ("I bought 灯 in your shop yesterday", "zh", "en"),
    ],
)  # fmt: skip
def test_the_script_tells_the_language(message, default, language):
    assert detect_language(message, ("en", "zh"), default) == language


def test_a_language_that_the_scenario_lacks_is_answered_in_the_default_one():
    assert detect_language("我的包裹到哪儿了", ("en", "de"), "de") == "de"
    assert detect_language("where is my parcel", ("zh",), "zh") == "zh"


def test_values_of_slots_are_left_out_of_a_message_before_its_intent_is_predicted(tmp_path):
    remove = value_remover(load_scenario(write_scenario(tmp_path / "shop")))
    assert remove("where is LW-123456 and ＬＷ-654321 now") == "where is and now"
    assert remove("LW-123456") == "LW-123456", "a message of nothing else stays"
