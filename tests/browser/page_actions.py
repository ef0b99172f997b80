"""Actions and locators of the chat page, and an endless script."""

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
