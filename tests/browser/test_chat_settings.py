"""The settings of a conversation: parameters, system prompt, presets, model, and several answers to choose from."""

import json
import re

import pytest
from page_actions import answers, send, wait_until
from playwright.sync_api import expect

from turnwise.core.chat_service import ScenarioInfo
from turnwise.core.messages import Message


def open_settings(page, *groups):
    page.click("#open-controls")
    for group in groups:
        page.click(f"summary:has-text('{group}')")


def test_fields_of_every_kind_reach_the_request(visit, script_answers):
    chat = script_answers()
    page = visit()
    open_settings(page, "Repetition", "Words and length", "Beam and contrastive search", "Format of the answer")
    page.fill("#control-stop", "END\n\\nUser:")
    page.fill("#control-stop_token_ids", "7\n9")
    page.get_by_role("button", name="Add a token").click()
    page.get_by_label("Id of the token").fill("42")
    page.get_by_label("Bias, from -100 to 100").fill("-5.5")
    page.locator("#control-ignore_eos").check()
    page.locator("#control-early_stopping").select_option(label="never")
    page.fill("#control-presence_penalty", "0.5")
    page.fill("#control-guided_choice", "yes\nno")
    send(page, "hi")
    expect(answers(page)).to_have_count(1)
    assert chat.requests[0].sampling == {
        "stop": ("END", "\nUser:"), "stop_token_ids": (7, 9), "logit_bias": ((42, -5.5),), "ignore_eos": True,
        "early_stopping": "never", "presence_penalty": 0.5,
    }  # fmt: skip
    assert chat.requests[0].output.format.source == ("yes", "no")


def test_the_format_and_the_context_policy_reach_the_request(visit, script_answers):
    chat = script_answers()
    page = visit()
    open_settings(page, "Format of the answer", "Long conversations")
    page.fill("#control-response_format", '{"type": "json_object"}')
    page.locator("#control-context_policy").select_option(label="drop oldest")
    send(page, "hi")
    expect(answers(page)).to_have_count(1)
    assert chat.requests[0].output.format.kind == "json_object"
    assert chat.requests[0].context.policy == "drop_oldest"


@pytest.mark.parametrize(
    ("group", "field", "text", "problem"),
    [
        ("Format of the answer", "response_format", '{"type"', "This is not JSON"),
        ("Format of the answer", "response_format", "[]", "not a JSON object"),
        ("Words and length", "stop_token_ids", "seven", "id of a token"),
        ("Words and length", "stop", "a\nb\nc\nd\ne", "At most 4 lines."),
        ("Basic", "n", "9", "less than or equal to 4"),
    ],
)
def test_an_invalid_value_is_named_and_not_sent(visit, script_answers, group, field, text, problem):
    chat = script_answers()
    page = visit()
    open_settings(page, *([] if group == "Basic" else [group]))
    page.fill(f"#control-{field}", text)
    expect(page.locator(f"#control-{field}-problem")).to_contain_text(problem)
    expect(page.locator(f"#control-{field}")).to_have_attribute("aria-invalid", "true")
    send(page, "hi")
    expect(answers(page)).to_have_count(1)
    assert (chat.requests[0].sampling, chat.requests[0].output.format) == ({}, None)


def test_the_system_prompt_belongs_to_the_conversation(visit, script_answers, store):
    chat = script_answers()
    page = visit()
    open_settings(page)
    page.fill("#control-system", "Be brief.")
    send(page, "hi")
    expect(answers(page)).to_have_count(1)
    assert chat.requests[0].messages == (Message("system", "Be brief."), Message("user", "hi"))
    page.reload()
    page.wait_for_selector("body[data-ready]")
    open_settings(page)
    expect(page.locator("#control-system")).to_have_value("Be brief.")
    page.fill("#control-system", "Be long.")
    send(page, "again")
    expect(answers(page)).to_have_count(2)
    assert [message.content for message in chat.requests[1].messages] == ["Be long.", "hi", "Hello, you.", "again"]
    other = store.create(title="Other", model="scripted")
    store.append(other.id, [Message("user", "Hello")])
    page.goto(page.url.split("#")[0] + f"#{other.id}")
    expect(page.locator("#title")).to_have_text("Other")
    expect(page.locator("#control-system")).to_have_value("")


def test_every_conversation_keeps_its_settings(visit, script_answers, store):
    script_answers()
    page = visit()
    open_settings(page)
    page.fill("#control-temperature", "0.2")
    send(page, "first")
    expect(answers(page)).to_have_count(1)
    page.click("#new-chat")
    expect(page.locator("#control-temperature")).to_have_value("0.2")  # a new chat starts with the last settings
    page.fill("#control-temperature", "1.5")
    send(page, "second")
    expect(answers(page)).to_have_count(1)
    page.click(".history-open:has-text('first')")
    expect(page.locator(".message.user .body")).to_have_text("first")
    expect(page.locator("#control-temperature")).to_have_value("0.2")
    expect(page.locator("#open-controls")).to_have_class(re.compile("changed"))


def saved(page, store, id, expected):
    """Wait until the server has these settings."""
    wait_until(page, lambda: store.get(id).settings == expected)


def test_the_server_has_the_settings_of_a_stored_conversation(visit, script_answers, store, server_url):
    chat = script_answers()
    page = visit()
    open_settings(page)
    page.fill("#control-system", "Be brief.")
    page.fill("#control-temperature", "0.2")
    send(page, "first")
    expect(answers(page)).to_have_count(1)
    [conversation] = store.list()
    settings = {"system": "Be brief.", "model": "scripted", "parameters": {"temperature": 0.2}}
    saved(page, store, conversation.id, settings)
    page.fill("#control-temperature", "0.4")
    page.fill("#control-n", "2")
    saved(page, store, conversation.id, settings | {"parameters": {"temperature": 0.4, "n": 2}})
    stored_here = "id => localStorage.getItem(`turnwise.settings.${id}`)"
    wait_until(page, lambda: page.evaluate(stored_here, conversation.id) is None)

    other = visit(f"/#{conversation.id}")  # another browser
    expect(other.locator("#control-temperature")).to_have_value("0.4")
    expect(other.locator("#control-system")).to_have_value("Be brief.")
    expect(other.locator("#control-n")).to_have_value("2")
    other.click("#open-controls")
    other.fill("#control-n", "1")
    send(other, "second")
    expect(answers(other)).to_have_count(2)
    assert chat.requests[-1].sampling == {"temperature": 0.4}


def test_settings_that_the_server_does_not_take_yet_are_not_lost(visit, script_answers, store):
    id = store.create(title="t", model="scripted").id
    page = visit(f"/#{id}")
    with page.expect_event("requestfailed", lambda request: request.method == "PATCH"):
        page.route("**/v1/conversations/*", lambda route: route.abort())
        open_settings(page)
        page.fill("#control-temperature", "0.3")
    page.unroute("**/v1/conversations/*")
    assert store.get(id).settings == {}
    page.reload()
    page.wait_for_selector("body[data-ready]")
    expect(page.locator("#control-temperature")).to_have_value("0.3")
    saved(page, store, id, {"system": "", "model": "scripted", "parameters": {"temperature": 0.3}})


def test_presets_are_applied_saved_exported_and_imported(visit, script_answers, tmp_path):
    chat = script_answers()
    page = visit()
    open_settings(page)
    page.select_option("#control-preset", "Precise")
    expect(page.locator("#control-preset-values")).to_have_text("Temperature 0.2 · Top p 0.9")
    page.fill("#control-top_p", "0.5")
    expect(page.locator("#control-preset option:checked")).to_have_text("Own values")
    page.get_by_role("button", name="Save as preset").click()
    page.fill("#preset-name", "Balanced")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#control-preset-values")).to_contain_text("built-in")
    page.get_by_role("button", name="Save as preset").click()
    page.fill("#preset-name", "Mine")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#control-preset option:checked")).to_have_text("Mine")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    exported = json.loads(download.value.path().read_text())
    assert exported["presets"] == [{"name": "Mine", "parameters": {"temperature": 0.2, "top_p": 0.5}}]

    page.get_by_role("button", name="Delete preset").click()
    expect(page.locator("#control-preset option", has_text="Mine")).to_have_count(0)
    exported["presets"][0]["parameters"]["temperature"] = 9
    expect(page.locator("#control-preset-values")).to_have_text("The preset is deleted.")
    for temperature, report in [(9, "out of range"), (0.3, "1 preset is imported.")]:
        exported["presets"][0]["parameters"]["temperature"] = temperature
        (tmp_path / "presets.json").write_text(json.dumps(exported))
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Import").click()
        chooser.value.set_files(tmp_path / "presets.json")
        expect(page.locator("#control-preset-values")).to_contain_text(report)
    page.select_option("#control-preset", "Mine")
    send(page, "hi")
    expect(answers(page)).to_have_count(1)
    assert chat.requests[0].sampling == {"temperature": 0.3, "top_p": 0.5}


def test_a_scenario_of_the_server_can_be_chosen(visit, script_answers, monkeypatch):
    monkeypatch.setattr("turnwise.testing.check_no_scenario", lambda request: None)
    chat = script_answers()
    chat.scenarios = (ScenarioInfo("shop", {"en": "Shop help"}, {"en": "Orders"}, ("en",)),)
    page = visit()
    open_settings(page)
    page.locator("#control-scenario").select_option(label="Shop help")
    send(page, "hi")
    expect(answers(page)).to_have_count(1)
    assert chat.requests[0].service.scenario == "shop"


def ask_for_two(visit, script_answers):
    numbers = iter(range(100))
    chat = script_answers(lambda request: [f"answer {next(numbers)}"])
    page = visit()
    open_settings(page)
    page.fill("#control-n", "2")
    page.fill("#control-max_tokens", "50")
    send(page, "hi")
    expect(page.locator(".choose-button")).to_have_count(2)
    return page, chat


def test_one_of_several_answers_is_chosen_and_the_others_stay_as_branches(visit, script_answers, store):
    page, chat = ask_for_two(visit, script_answers)
    expect(page.locator(".choose-button").first).to_be_focused()
    second = page.locator(".answer-column .body").nth(1).text_content()
    first = page.locator(".answer-column .body").first.text_content()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(answers(page)).to_have_text([second])
    expect(page.locator(".branch-number")).to_have_text(re.compile("[12]/2"))
    (conversation,) = store.list()
    assert [entry.message.content for entry in store.get(conversation.id).messages] == ["hi", second]
    assert {entry.message.content for entry in store.get(conversation.id).tree} == {"hi", first, second}
    wait_until(page, lambda: store.comparisons.list()[0])
    (comparison,), _ = store.comparisons.list()
    assert comparison.content.verdict == "right"
    (answer,) = store.collected_answers.answers()
    assert (answer.answer.content, answer.preferred[0].answer.content) == (first, second)
    assert {request.sampling["max_tokens"] for request in chat.requests} == {50}
    page.fill("#control-n", "1")
    send(page, "go on")
    expect(answers(page)).to_have_count(2)
    assert [message.content for message in chat.requests[-1].messages] == ["hi", second, "go on"]


def test_escape_goes_on_with_the_first_answer_without_a_preference(visit, script_answers, store):
    page, _ = ask_for_two(visit, script_answers)
    first = page.locator(".answer-column .body").first.text_content()
    page.keyboard.press("Escape")
    expect(answers(page)).to_have_text([first])
    assert store.comparisons.list() == ([], False)


def test_leaving_the_choice_leaves_the_conversation(visit, script_answers):
    page, _ = ask_for_two(visit, script_answers)
    page.keyboard.press("Alt+KeyN")
    expect(page.locator("#empty")).to_be_visible()
    expect(page.locator(".message")).to_have_count(0)
    expect(page.locator("#send")).to_be_visible()
