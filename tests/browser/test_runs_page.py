"""The page of trainings and evaluations: start, watch, compare replies, stop, and chat with the result."""

import pytest
from playwright.sync_api import expect

from run_stand_ins import QUESTION, RunStandIn, training_events
from turnwise.core.runs import EvaluationOptions, TrainingOptions
from turnwise.server.app import create_app
from turnwise.testing import serve_in_thread

HOSTILE = "<img src=x onerror=\"document.title='hacked'\">"


@pytest.fixture
def manager():
    return RunStandIn()


@pytest.fixture
def server_url(services, manager):
    with serve_in_thread(create_app(services, default="scripted", auto_titles=False, runs=manager)) as url:
        yield url


def run(page, number=0):
    return page.locator("#runs-list > li").nth(number)


def test_a_training_is_started_from_the_chat_in_two_clicks(visit, manager):
    page = visit("/")
    page.get_by_role("link", name="Train").click()
    page.get_by_role("button", name="Start", exact=True).click()
    expect(run(page).locator("b").first).to_have_text("chats")
    expect(run(page).locator("summary")).to_be_focused()
    expect(run(page).locator(".run-now")).to_have_text("Reading the data and loading the model.")
    assert manager.started == [TrainingOptions("chats.jsonl", "tiny")]


def test_the_plan_is_shown_before_the_start_and_an_error_in_its_place(visit, manager):
    page = visit("/runs?dataset=shop.jsonl")
    manager.error = f"The data has no replies: {HOSTILE}"
    page.get_by_role("button", name="Show the plan").click()
    expect(page.locator("#run-plan .error")).to_have_text(manager.error)
    manager.error = None
    page.get_by_role("button", name="Show the plan").click()
    expect(page.locator("#run-plan")).to_contain_text("179 examples to train on, 21 to validate.")
    expect(page.locator("#run-plan")).to_contain_text("67 steps, 59,004 tokens")
    expect(page.locator("#run-plan")).to_contain_text("About 2 min without validation")
    page.keyboard.press("Enter")
    expect(run(page)).to_be_visible()
    expect(page.locator("#run-plan")).to_be_hidden()
    assert [options.dataset for options in manager.started] == ["shop.jsonl", "shop.jsonl"]


def test_the_settings_that_are_filled_in_are_sent(visit, manager):
    page = visit("/runs")
    page.locator("#run-training [name=dataset]").select_option("")
    page.get_by_label("Base model").select_option("assistant")
    page.get_by_label("Unit of the length").select_option("minutes")
    page.get_by_label("Train for").fill("20")
    page.get_by_text("More settings").click()
    page.get_by_label("Learning rate").fill("0.001")
    page.get_by_label("Objective").select_option("kto")
    page.locator("#run-training [name=title]").fill("Kinder")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(run(page)).to_contain_text("Kinder")
    page.get_by_label("Evaluate a model").check()
    page.get_by_label("Compare with").select_option("tiny")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(run(page)).to_contain_text("evaluation")
    assert manager.started == [
        TrainingOptions(
            None, "assistant", objective="kto", method="lora", epochs=None, minutes=20, learning_rate=0.001,
            title="Kinder",
        ),
        EvaluationOptions("chats.jsonl", "tiny", "tiny"),
    ]  # fmt: skip


def test_curves_and_replies_grow_while_a_training_runs(visit, manager):
    id = manager.add(title=HOSTILE)
    manager.events[id] = training_events(steps=10)
    page = visit("/runs")
    run(page).locator("summary").click()
    expect(run(page).locator(".run-now")).to_have_text("Step 10 of 40 · loss 3.5 · about 15 s left")
    expect(run(page).get_by_role("progressbar")).to_have_attribute("value", "10")
    first = run(page).locator("path.run-training").first.get_attribute("d")
    manager.events[id] += training_events(steps=20)[-12:]
    expect(run(page).locator(".run-now")).to_have_text("Step 20 of 40 · loss 3 · about 10 s left")
    assert len(run(page).locator("path.run-training").first.get_attribute("d")) > len(first)
    expect(run(page).get_by_role("img", name="Training loss 3 · Validation loss 3.2")).to_be_visible()
    expect(run(page).locator(".run-sample b")).to_have_text(QUESTION)
    expect(run(page).locator(".run-sample p")).to_have_text(["No.", "Yes, green tea.", "Yes, all day."])
    expect(run(page).locator("b").first).to_have_text(HOSTILE)
    assert page.title() == "Train – Turnwise"


def test_a_resumed_training_draws_the_repeated_steps_once(visit, manager):
    id = manager.add()
    manager.events[id] = [
        *training_events(steps=20), {"event": "start", "step": 8, "total_steps": 40},
        {"event": "step", "step": 9, "loss": 3.0, "steps_per_second": 2.0},
    ]  # fmt: skip
    page = visit("/runs")
    run(page).locator("summary").click()
    expect(run(page).locator(".run-now")).to_contain_text("Step 9 of 40")
    path = run(page).locator("path.run-training").first.get_attribute("d")
    assert path.count("L") == 8, "nine points"


def test_a_complete_training_has_figures_a_report_and_a_chat(visit, manager):
    manager.add(
        state="complete", has_report=True, model_folder="/home/runs/1/model",
        result={"valid_before": 4.0, "valid_after": 2.1, "verdict": "better", "reasons": ["More replies fit."]},
        samples=[{"question": QUESTION, "reply": "Yes.", "before": "No.", "after": "Yes, tea."}],
    )  # fmt: skip
    page = visit("/runs")
    run(page).locator("summary").click()
    expect(run(page).locator(".run-result")).to_have_text(
        "Validation loss 4 → 2.1 · Comparison: better · More replies fit."
    )
    expect(run(page).locator("code")).to_have_text("turnwise serve /home/runs/1/model")
    page.get_by_role("button", name="Report").click()
    expect(page.get_by_role("dialog").locator("p")).to_have_css("color", "rgb(0, 128, 0)")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Chat with it").click()
    page.wait_for_selector("body.chat[data-ready]")
    assert page.evaluate("JSON.parse(localStorage['turnwise.settings.new']).model") == "scripted"


def test_a_run_is_stopped_continued_and_deleted(visit, manager):
    manager.add()
    page = visit("/runs")
    run(page).locator("summary").click()
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(run(page).locator(".badge")).to_have_text("stopped")
    page.get_by_role("button", name="Continue").click()
    expect(run(page).locator(".badge")).to_have_text("waiting")
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Delete").click()
    page.locator("#delete-run-no").click()
    assert len(manager.runs) == 1
    page.get_by_role("button", name="Delete").click()
    page.locator("#delete-run-yes").click()
    expect(page.locator("#runs-empty")).to_be_visible()
    assert manager.runs == {}


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_the_page_of_a_run_has_no_violation_and_no_english_text(visit, manager, locale):
    from accessibility import violations
    from test_translations import english_texts

    id = manager.add(title="茶")
    manager.events[id] = training_events()
    for settings in ({"color_scheme": "light"}, {"color_scheme": "dark", "viewport": {"width": 320, "height": 640}}):
        page = visit("/runs", locale=locale, **settings)
        run(page).locator("summary").click()
        expect(run(page).locator(".run-sample")).to_be_visible()
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
        if locale == "zh-CN":
            page.evaluate(
                "for (const text of document.querySelectorAll('.run-sample :is(b, p), option')) text.remove()"
            )
            assert [text for text in english_texts(page) if not text.endswith("UTC")] == []


def test_two_clicks_start_one_training_of_at_least_a_minute(visit, manager):
    page = visit("/runs")
    page.select_option("#run-training [name=unit]", "minutes")
    page.fill("#run-training [name=length]", "0.5")
    start = page.locator("#run-training").get_by_role("button", name="Start", exact=True)
    start.click()
    expect(page.locator("#run-training [name=length]:invalid")).to_be_focused()
    page.fill("#run-training [name=length]", "1")
    start.dblclick()
    expect(run(page).locator("summary")).to_be_focused()
    assert len(manager.runs) == 1


def test_the_focus_stays_on_the_page_when_its_button_goes(visit, manager):
    manager.add()
    page = visit("/runs")
    run(page).locator("summary").click()
    page.get_by_role("button", name="Stop", exact=True).press("Enter")
    expect(run(page).locator("summary")).to_be_focused()
    page.get_by_role("button", name="Delete").press("Enter")
    page.locator("#delete-run-yes").press("Enter")
    expect(page.locator("#runs-empty")).to_be_visible()
    expect(page.locator("main")).to_be_focused()


def test_a_list_that_cannot_be_read_again_says_so(visit, server_url):
    page = visit("/health", ready=False)
    page.clock.install()
    page.goto(server_url + "/runs")
    page.wait_for_selector("body[data-ready]")
    page.route("**/v1/runs", lambda route: route.fulfill(status=500, json={"error": {"message": "Broken."}}))
    page.clock.run_for(5000)
    expect(page.locator("#banner-text")).to_have_text("Broken. The page shows what it read before, and tries again.")
    page.unroute("**/v1/runs")
    page.clock.run_for(5000)
    expect(page.locator("#banner")).to_be_hidden()
