"""The main flows of the pages in WebKit, driven by its WebDriver (Debian: webkit2gtk-driver, xvfb)."""

import os
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from selenium.webdriver.webkitgtk.options import Options
from selenium.webdriver.webkitgtk.service import Service

DRIVER = shutil.which("WebKitWebDriver")
MINI_BROWSER = next(map(str, Path("/usr/lib").glob("*/webkit2gtk-4*/MiniBrowser")), None)
ANSWER = ["**Tea** is ready:\n\n", "| kind | minutes |\n| --- | --- |\n", "| green | 2 |\n\n", "$x^2$\n"]

pytestmark = [
    pytest.mark.skipif(
        not (DRIVER and MINI_BROWSER and (os.environ.get("DISPLAY") or shutil.which("Xvfb"))),
        reason="WebKit was not found; install it (apt-get install webkit2gtk-driver xvfb) to run this.",
    ),
    pytest.mark.filterwarnings("ignore:setting remote_server_addr:DeprecationWarning"),  # by selenium itself
]


@pytest.fixture(scope="module")
def webkit():
    with ExitStack() as stack:
        if not os.environ.get("DISPLAY"):
            screen = stack.enter_context(
                subprocess.Popen(
                    ["Xvfb", "-displayfd", "1", "-screen", "0", "1300x900x24"], stdout=subprocess.PIPE, text=True
                )
            )
            stack.callback(screen.terminate)
            environment = pytest.MonkeyPatch()
            stack.callback(environment.undo)
            environment.setenv("DISPLAY", f":{screen.stdout.readline().strip()}")
        options = Options()
        options.binary_location = MINI_BROWSER
        options.add_argument("--automation")
        driver = webdriver.WebKitGTK(options=options, service=Service(DRIVER))
        stack.callback(driver.quit)
        driver.set_window_size(1200, 800)
        yield driver


@pytest.fixture
def open_page(webkit, server_url, script_answers):
    script_answers(ANSWER)

    def open_at(path="/"):
        webkit.get("about:blank")
        webkit.get(server_url + path)
        one(webkit, "body[data-ready]")
        return webkit

    return open_at


def wait(driver, condition):
    return WebDriverWait(driver, 10, poll_frequency=0.05, ignored_exceptions=[StaleElementReferenceException]).until(
        condition
    )


def one(driver, selector):
    return wait(driver, lambda page: page.find_element(By.CSS_SELECTOR, selector))


def shown(driver, selector, text):
    """Wait for an element whose text contains this one."""
    wait(
        driver,
        lambda page: any(
            text in found.get_property("textContent") for found in page.find_elements(By.CSS_SELECTOR, selector)
        ),
    )


def ask(driver, text):
    one(driver, "#prompt").send_keys(text, Keys.ENTER)
    shown(driver, ".message.user .body", text)
    wait(driver, lambda page: page.find_element(By.ID, "send").is_displayed())
    return one(driver, ".message.assistant.last:not(.growing) .body")


def test_an_answer_is_streamed_and_rendered(open_page, store):
    page = open_page()
    answer = ask(page, "Is there tea?")
    assert answer.find_element(By.TAG_NAME, "strong").text == "Tea"
    assert [cell.text for cell in answer.find_elements(By.TAG_NAME, "td")] == ["green", "2"]
    wait(page, lambda _: answer.find_elements(By.CSS_SELECTOR, "math msup"))
    (conversation,) = store.list()
    assert conversation.title == "Is there tea?"


def test_a_conversation_is_found_again_after_a_reload(open_page):
    page = open_page()
    ask(page, "Is there cake?")
    page.refresh()
    shown(page, ".message.user .body", "Is there cake?")
    one(page, "#history-search").send_keys("cake")
    shown(page, ".history-match", "cake")


def test_an_edited_question_becomes_a_branch(open_page):
    page = open_page()
    ask(page, "first")
    edit = one(page, ".message.user button[aria-label='Edit and ask again']")
    ActionChains(page).move_to_element(edit).click().perform()
    field = one(page, ".message.user textarea")
    field.clear()
    field.send_keys("second", Keys.ENTER)
    shown(page, ".message.user .body", "second")
    shown(page, ".branch-number", "2/2")


def test_settings_reach_the_request(open_page, services):
    page = open_page()
    one(page, "#open-controls").click()
    field = one(page, "#control-max_tokens")
    field.clear()
    field.send_keys("7")
    ask(page, "short, please")
    assert services["scripted"].requests[-1].sampling["max_tokens"] == 7


def test_an_answer_can_be_stopped(open_page, script_answers):
    page = open_page()
    script_answers(["word "] * 400, delay=0.02)
    one(page, "#prompt").send_keys("endless", Keys.ENTER)
    shown(page, ".message.growing .body", "word")
    one(page, "#prompt").send_keys(Keys.ESCAPE)
    shown(page, "#status", "Stopped.")


@pytest.mark.parametrize("path", ["/playground", "/review", "/handoffs", "/docs"])
def test_the_other_pages_start(open_page, path):
    assert one(open_page(path), "h1").is_displayed()
