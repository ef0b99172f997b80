"""Actions and locators of the chat page, and an endless script."""


def send(page, text):
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
