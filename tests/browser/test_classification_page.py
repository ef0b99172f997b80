"""The classification page: labels as bars, spans in colour, and no markup from texts or labels."""

import pytest
from playwright.sync_api import expect

from turnwise.chat.classification_service import StepwiseClassificationService
from turnwise.core.classification import LabelScore, Span, TaggedText, TextLabels
from turnwise.core.classification_service import ClassificationResult, TaggingResult
from turnwise.core.errors import Unavailable
from turnwise.server.app import create_app
from turnwise.testing import ScriptedChatService, serve_in_thread

HOSTILE = "<img src=x onerror=\"document.title='hacked'\">"
SHAPES = "💡 é 灯"


class ScriptedClassifier:
    """Labels every text alike, and tags the word "Ada" (implements `StepwiseClassifier`)."""

    def classify_in_steps(self, request):
        if request.inputs[0] == "fail":
            raise Unavailable("The classifier is being exchanged.")
        yield
        scores = (LabelScore(HOSTILE, 0.75), LabelScore("calm", 0.25))
        is_long = len(request.inputs[0]) > 100
        return ClassificationResult([TextLabels(() if is_long else (HOSTILE,), scores[: request.top_k], is_long)], 1)

    def tag_in_steps(self, request):
        yield
        (text,) = request.inputs
        starts = [start for start in range(len(text)) if text.startswith("Ada", start)]
        labels = ["PER", HOSTILE, "PER"][: len(starts)]
        spans = [Span(start, start + 3, "Ada", label, 0.5) for start, label in zip(starts, labels, strict=True)]
        return TaggingResult([TaggedText(text, spans)], 1)


def scripted(name, task):
    return StepwiseClassificationService(name, 0, task, (HOSTILE, "calm"), False, 8, ScriptedClassifier())


CLASSIFIERS = {
    HOSTILE: scripted(HOSTILE, "sequence_classification"),
    "names": scripted("names", "token_classification"),
}


@pytest.fixture(scope="session")
def classifying_url():
    app = create_app({"scripted": ScriptedChatService()}, default="scripted", classifiers=CLASSIFIERS)
    with serve_in_thread(app) as url:
        yield url


@pytest.fixture
def server_url(classifying_url):
    return classifying_url


@pytest.fixture
def script_answers():
    """These tests have no chat."""


def classify(page, text, model):
    page.select_option("#classify-model", model)
    page.fill("#classify-text", text)
    page.click("#classify-send")


def assert_no_markup(page):
    page.wait_for_timeout(100)
    assert page.locator("main img, main script, main iframe").count() == 0
    assert page.title() == "Classify – Turnwise"


def test_labels_are_bars_with_the_predicted_one_in_bold(visit):
    page = visit("/classify")
    classify(page, HOSTILE, HOSTILE)
    expect(page.locator(".label-scores tr")).to_have_count(2)
    expect(page.locator(".predicted th")).to_have_text(HOSTILE)
    assert page.locator("meter").evaluate_all("meters => meters.map(meter => meter.value)") == [0.75, 0.25]
    expect(page.locator(".label-scores td:last-child")).to_have_text(["75.0 %", "25.0 %"])
    assert_no_markup(page)


def test_a_truncated_text_and_one_without_a_label_are_noted(visit):
    page = visit("/classify")
    classify(page, "x" * 101, HOSTILE)
    expect(page.locator("#classify-result p")).to_have_count(2)
    expect(page.locator("#classify-result")).to_contain_text("below the threshold")
    expect(page.locator("#classify-result")).to_contain_text("its end was not read")


def test_spans_are_marked_in_the_text_also_after_characters_outside_the_basic_plane(visit):
    page = visit("/classify")
    text = f"{SHAPES}\nAda, {HOSTILE} Ada {SHAPES} Ada."
    classify(page, text, "names")
    marks = page.locator(".tagged-text mark")
    expect(marks).to_have_count(3)
    assert marks.evaluate_all("marks => marks.map(mark => mark.firstChild.textContent)") == ["Ada"] * 3
    expect(page.locator(".span-label")).to_have_text(["PER", HOSTILE, "PER"])
    colours = marks.evaluate_all("marks => marks.map(mark => getComputedStyle(mark).backgroundColor)")
    assert colours[0] == colours[2] != colours[1]
    page.evaluate("document.querySelectorAll('.span-label').forEach(label => label.remove())")
    assert page.locator(".tagged-text").text_content() == text
    assert_no_markup(page)


def test_another_classifier_answers_for_the_same_text_at_once(visit):
    page = visit("/classify")
    classify(page, "Ada", HOSTILE)
    expect(page.locator(".label-scores")).to_be_visible()
    page.select_option("#classify-model", "names")
    expect(page.locator(".tagged-text mark")).to_have_count(1)
    expect(page.locator(".label-scores")).to_have_count(0)


def test_an_error_is_shown_and_goes_with_the_next_result(visit):
    page = visit("/classify")
    classify(page, "fail", HOSTILE)
    expect(page.locator("#banner-text")).to_have_text("The classifier is being exchanged.")
    classify(page, "works", HOSTILE)
    expect(page.locator("#banner")).to_be_hidden()
    expect(page.locator(".label-scores")).to_be_visible()


def test_the_page_fits_a_phone_screen(visit):
    page = visit("/classify", viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    classify(page, "Ada " + "x" * 90, HOSTILE)
    expect(page.locator(".label-scores")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_chat_page_links_to_it_and_does_not_offer_classifiers_as_chat_models(visit):
    page = visit("/")
    expect(page.locator("#model")).to_have_text("scripted")
    page.get_by_role("link", name="Classify").click()
    page.wait_for_url("**/classify")
    page.wait_for_selector("body[data-ready]")
    expect(page.locator("#classify-model option")).to_have_count(2)


def test_a_server_without_classifiers_says_how_to_serve_one(browser):
    with serve_in_thread(create_app({"scripted": ScriptedChatService()}, default="scripted")) as url:
        page = browser.new_page()
        page.goto(f"{url}/classify")
        expect(page.locator("#banner-text")).to_contain_text("turnwise serve --classifier FOLDER")
        page.fill("#classify-text", "Ada")
        expect(page.locator("#classify-send")).to_be_disabled()
        page.close()
