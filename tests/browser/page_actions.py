"""Actions and locators of the chat page, and an endless script."""

import time

from playwright.sync_api import expect


def send(page, text):
    """Send a message once the page accepts one: after an answer it reads the stored conversation first."""
    expect(page.locator("#send")).to_be_visible()
    page.fill("#prompt", text)
    page.press("#prompt", "Enter")


def answers(page):
    return page.locator(".message.assistant:not(.growing) .body")


def endless(chat_request):
    while True:
        yield "word "


def texts(page):
    """Return the texts of the messages on the page."""
    return page.locator(".message .body").all_text_contents()


def wait_until(page, condition, seconds=5):
    """Wait until a function returns something true: the page shows some results before the server has them."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not true after {seconds} s"
        page.wait_for_timeout(20)
