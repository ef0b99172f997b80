"""What a person does on the chat page, and a chat that never ends."""


def send(page, text):
    page.fill("#prompt", text)
    page.press("#prompt", "Enter")


def answers(page):
    return page.locator(".message.assistant:not(.growing) .body")


def endless(turn):
    while True:
        yield "word "


def texts(page):
    """The messages on the screen."""
    return page.locator(".message .body").all_text_contents()
