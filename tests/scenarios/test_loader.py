"""Loading a scenario's folder: what is in it, what its hash depends on, and which errors name file and key."""

import os

import pytest

from turnwise.core.errors import InvalidData, InvalidParameter
from turnwise.scenarios.loader import load_scenario


def test_a_scenario_has_the_content_of_its_files(lamp_shop):
    scenario = load_scenario(lamp_shop())
    assert scenario.name == "lamp_shop"
    assert scenario.settings.sampling == {"temperature": 0.3}
    assert [(name, intent.answer) for name, intent in scenario.intents.items()] == [
        ("order_status", "template"), ("returns", "template"), ("care", "knowledge"), ("person", "hand_off"),
    ]  # fmt: skip
    assert {document.path: document.language for document in scenario.documents} == {
        "knowledge/en/care.md": "en", "knowledge/zh/care.md": "zh",
    }  # fmt: skip
    assert [test.id for test in scenario.tests] == ["a", "b", "c", "d"]


def test_facts_are_filled_into_the_system_prompt_in_its_language(lamp_shop):
    scenario = load_scenario(lamp_shop())
    assert scenario.system_prompt("en") == "You answer for Lampino."
    assert scenario.system_prompt("zh") == "你是灯诺的客服。"
    assert scenario.as_scenario("en").system_prompt.endswith("User: Do you sell lamps?\nAssistant: Yes, from £20.")


def test_a_variant_of_a_language_gets_its_base_language_and_an_unknown_one_the_default(lamp_shop):
    scenario = load_scenario(lamp_shop())
    assert scenario.system_prompt("zh-TW") == "你是灯诺的客服。"
    assert scenario.system_prompt("fr") == "You answer for Lampino."
    with pytest.raises(InvalidParameter, match="no texts in 'fr': en, zh"):
        scenario.check_language("fr")


def test_only_scenario_yaml_is_required(lamp_shop):
    folder = lamp_shop(scenario="""
        schema_version: 1
        title: {en: A}
        description: {en: B}
        languages: [en]
        default_language: en
        instruction: {en: C}
        """)  # fmt: skip
    for path in [*folder.glob("[!s]*.yaml"), *folder.glob("s[!c]*.yaml"), *folder.glob("tests/*")]:
        path.unlink()
    assert load_scenario(folder).system_prompt("en") == "C"


def test_the_content_hash_changes_with_every_file_and_with_nothing_else(lamp_shop, tmp_path):
    folder = lamp_shop()
    before = load_scenario(folder).content_hash
    os.utime(folder / "facts.yaml", (1, 1))
    (folder / ".facts.yaml.swp").write_text("an editor's file")
    assert load_scenario(folder).content_hash == before
    (folder / "knowledge/en/care.md").write_text("Wipe lamps with a damp cloth.")
    assert load_scenario(folder).content_hash != before


def test_nothing_in_a_scenario_can_be_changed(lamp_shop):
    scenario = load_scenario(lamp_shop())
    with pytest.raises(TypeError):
        scenario.intents["order_status"] = None
    with pytest.raises(TypeError):
        scenario.facts["price"].value["en"] = "£1"
    with pytest.raises(Exception, match="frozen"):
        scenario.settings.languages = ()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"intents": "order_status: {exampels: {en: [a]}}"},
            "intents.yaml, 'order_status': unknown key 'exampels': did you mean 'examples'",
        ),
        ({"intents": "Order Status: {examples: {en: [a]}}"}, "intents.yaml: a name is invalid"),
        (
            {"intents": "a: {examples: {en: [hi]}}\na: {examples: {en: [ho]}}"},
            "intents.yaml, line 2: the key 'a' occurs",
        ),
        ({"intents": "a: {answer: guess, examples: {en: [hi]}}"}, "'answer' should be 'template'"),
        (
            {"templates": "returns: {en: 'You have {{ a + b }} days'}"},
            "templates.yaml: 'returns.en': '{{' begins nothing",
        ),
        ({"templates": "returns: {en: 3}"}, "templates.yaml: 'returns.en' should be a text or a list"),
        ({"slots": "size: {fact: price, pattern: a}"}, "slots.yaml, 'size': a slot has one source"),
        ({"slots": "size: {}"}, "'size': a slot needs a source"),
        ({"slots": "size: {pattern: '(a'}"}, "'size': the expression '(a' is invalid at character 3: a ')' is missing"),
        ({"facts": "price: 20"}, "facts.yaml, 'price': YAML reads 20 as a number; quote"),
        ({"facts": "price: {value: {en: a}, term: {en: [b]}}"}, "unknown key 'term': did you mean 'terms'"),
        ({"examples": "en: [[only a question]]"}, "examples.yaml: a dialogue of 'en' is invalid, entry 1"),
        ({"safety": "a: {phrases: {en: ['...']}, say: {en: b}}"}, "must begin and end with a word"),
        ({"safety": "a: {phrases: {}, say: {en: b}}"}, "'a' needs 'phrases'"),
        ({"refusals": "a: {phrases: {en: [b]}, say: {en: 'No {{ nothing }}.'}}"}, "facts.yaml has no 'nothing'"),
        ({"tests__basic": "- {id: a, language: en, messages: [hi], decision: shout}"}, "'shout' is no decision"),
        ({"tests__basic": "- {id: a, language: en, messages: [hi, ho], decision: clarify}"}, "end with a user"),
        ({"tests__more": "- {id: a, language: en, messages: [hi], decision: clarify}"}, "the id 'a' occurs twice"),
        (
            {"tests__basic": "- {id: a, language: en, messages: [hi], decision: clarify, must_include: [yes]}"},
            "got True",
        ),
        ({"intent": "a: {}"}, "intent.yaml: a scenario has no file of this name; did you mean 'intents.yaml'"),
    ],
)
def test_errors_name_the_file_and_the_key(lamp_shop, files, message):
    folder = lamp_shop(**files)
    with pytest.raises(InvalidData) as caught:
        load_scenario(folder)
    assert message in str(caught.value)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("schema_version: 2", "reads scenarios of schema_version 1, not 2"),
        ("default_language: fr", "'default_language' fr is not in 'languages'"),
        ("sampling: {temperature: 9}", "temperature"),
        ("sampling: {temprature: 0.5}", "did you mean 'temperature'"),
        ("knowledge: [nothing_here]", "names the folder 'nothing_here', which has no documents"),
        ("tools: [{name: look_up}]", "a tool is {type: function"),
        ("unmatched: template", "'unmatched' cannot be template"),
        (
            "format: human_assistant",
            "'format' is not a setting of a scenario: an interaction format belongs to the model",
        ),
    ],
)
def test_invalid_settings_are_explained(lamp_shop, line, message):
    key = line.partition(":")[0]
    folder = lamp_shop()
    lines = (folder / "scenario.yaml").read_text().splitlines()
    (folder / "scenario.yaml").write_text("\n".join([*(old for old in lines if not old.startswith(key)), line]))
    with pytest.raises(InvalidData, match=r"scenario\.yaml") as caught:
        load_scenario(folder)
    assert message in str(caught.value)
