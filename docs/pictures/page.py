"""Takes the pictures of the pages: python docs/pictures/page.py [NAME ...]

`turnwise serve` runs with the default model and an empty store, and Chromium uses the pages as a person does, at
temperature 0. Without a pulled default model the bundled one answers. The pictures are for people to look at: their
texts depend on the model.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from turnwise.core.settings import Settings

HERE = Path(__file__).parent
QUESTIONS = (
    "Hello! Who are you?",
    "How do I cancel my order?",
    "Give me three tips for learning a language, as a list.",
)
SIZE = {"width": 1200, "height": 800}
ANSWER_TIMEOUT_MS = 120_000


def chat(page: Page) -> None:
    """A conversation."""
    for question in (QUESTIONS[0], QUESTIONS[2]):
        ask(page, question)
    page.mouse.move(0, 0)


def tokens(page: Page) -> None:
    """Why an answer has its words."""
    ask(page, QUESTIONS[1])
    page.get_by_role("button", name="Why these words?").last.click()
    page.locator("#token-panel .token-choice").first.wait_for()
    page.locator("#token-panel .token-choice").nth(2).click()
    page.wait_for_timeout(1000)  # bars grow


def playground(page: Page) -> None:
    """Two settings of one model beside each other."""
    page.goto(page.url.split("#")[0].rstrip("/") + "/playground")
    page.wait_for_selector("body[data-ready]")
    page.locator("#setup-b summary").first.click()
    page.fill("#b-system", "Answer in one short sentence.")
    page.locator("#setup-b summary").first.click()
    page.fill("#playground-text", QUESTIONS[2])
    page.press("#playground-text", "Enter")
    page.get_by_role("button", name="Left is better").wait_for(timeout=ANSWER_TIMEOUT_MS)


def runs(page: Page) -> None:
    """A training of the bundled model on the dialogues of a bicycle shop, while it runs."""
    url = page.url.split("#")[0].rstrip("/")
    content = (HERE.parents[1] / "examples/bike_shop.jsonl").read_bytes()
    page.request.post(f"{url}/v1/datasets?filename=bike_shop.jsonl", data=content)
    page.goto(f"{url}/runs?dataset=bike_shop.jsonl")
    page.wait_for_selector("body[data-ready]")
    page.get_by_label("Base model").select_option("tiny")
    page.get_by_role("button", name="Start", exact=True).click()
    page.locator(".run-curves svg").first.wait_for(timeout=ANSWER_TIMEOUT_MS)
    page.wait_for_timeout(60_000)
    page.locator("#runs-list > li").first.scroll_into_view_if_needed()


PICTURES: dict[str, Callable[[Page], None]] = {
    "chat": chat, "tokens": tokens, "playground": playground, "runs": runs,
}  # fmt: skip


def ask(page: Page, text: str) -> None:
    """Send a message and wait for the complete answer."""
    count = page.locator(".message.assistant").count()
    page.fill("#prompt", text)
    page.press("#prompt", "Enter")
    page.locator(".message.assistant:not(.growing)").nth(count).wait_for(timeout=ANSWER_TIMEOUT_MS)
    page.locator("#send").wait_for(timeout=ANSWER_TIMEOUT_MS)


@contextmanager
def served() -> Iterator[str]:
    """Address of a server with the pulled models of this machine and an empty store."""
    with tempfile.TemporaryDirectory() as home:
        if (models := Settings.from_environment().models).is_dir():
            (Path(home) / "models").symlink_to(models)
        options = ["--port", "0", "--temperature", "0", "--max-tokens", "160"]
        server = subprocess.Popen(  # noqa: S603  # the arguments are ours
            [sys.executable, "-m", "turnwise", "serve", *options],
            env=os.environ | {"TURNWISE_HOME": home},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            assert server.stdout is not None
            lines = iter(server.stdout.readline, "")
            yield next(match[0] for line in lines if (match := re.search(r"http://127\.0\.0\.1:\d+", line)))
        finally:
            server.terminate()
            server.wait()


def main() -> None:
    """Take the pictures that the command line names; default: all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*PICTURES, []], metavar="NAME", help=", ".join(PICTURES))
    names = parser.parse_args().names or list(PICTURES)
    with served() as url, sync_playwright() as playwright:
        chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for name in names:
            page = browser.new_page(viewport=SIZE, locale="en")
            page.goto(url)
            page.wait_for_selector("body[data-ready]")
            PICTURES[name](page)
            page.screenshot(path=HERE / f"{name}.png")
            page.close()


if __name__ == "__main__":
    main()
