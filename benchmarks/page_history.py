"""Measures the list of conversations of the chat page with many conversations, in Chromium.

    python benchmarks/page_history.py [--conversations 10000]

Prints the time from the navigation to the first list, the requests for it, and, while the list is scrolled from its
first to its last conversation, the longest frame and the share of frames above 50 ms. The server runs in a process of
its own.
"""

import argparse
import multiprocessing
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, Request, sync_playwright

from turnwise.core.conversation_trees import ConversationTree, TreeMessage
from turnwise.core.messages import Message
from turnwise.server.app import create_app
from turnwise.store import open_store
from turnwise.testing import ScriptedChatService, serve_in_thread

DAY_SECONDS = 86_400
RUNS = 5
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]

FRAME_SCRIPT = """
    async () => {
      const list = document.querySelector("#history");
      const frames = [];
      let last = await new Promise(requestAnimationFrame);
      let idle = 0;
      while (idle < 60) {
        const now = await new Promise(requestAnimationFrame);
        frames.push(now - last);
        last = now;
        const before = list.scrollTop;
        list.scrollTop += 400;
        idle = list.scrollTop === before && document.querySelector("#history-more").hidden ? idle + 1 : 0;
      }
      return { frames, drawn: document.querySelectorAll(".history-row").length };
    }
"""


def fill(url: str, count: int) -> None:
    """Write conversations, one every two hours up to now."""
    store, now = open_store(url), time.time()
    for start in range(0, count, 1000):
        trees = []
        for number in range(start, min(start + 1000, count)):
            time_of_change = now - (count - number) * DAY_SECONDS / 12
            messages = (
                TreeMessage("a", None, Message("user", f"Question {number}: how does this work in practice?")),
                TreeMessage("b", "a", Message("assistant", f"Answer {number}. " + "It depends on the details. " * 20)),
            )
            title = f"Conversation {number} about a subject of some length"
            trees.append(ConversationTree(messages, title=title, created=time_of_change, updated=time_of_change))
        store.add_trees(trees, model="scripted")
    store.close()


def serve(store_url: str, addresses: "multiprocessing.Queue[str]") -> None:
    """Serve until the process is ended."""
    store = open_store(store_url)
    with serve_in_thread(create_app({"scripted": ScriptedChatService(store=store)}, default="scripted")) as url:
        addresses.put(url)
        time.sleep(3600)


@contextmanager
def server(store_url: str) -> Iterator[str]:
    """A server in another process, because it would take the time of this one's interpreter."""
    context = multiprocessing.get_context("spawn")
    addresses = context.Queue()
    process = context.Process(target=serve, args=(store_url, addresses), daemon=True)
    process.start()
    try:
        yield addresses.get(timeout=60)
    finally:
        process.terminate()
        process.join()


def measure_first_list(page: Page, url: str) -> tuple[float, int]:
    """Milliseconds from the navigation to the first rows, and the number of requests for conversations."""
    requests: list[str] = []

    def note(request: Request) -> None:
        if "/v1/conversations" in request.url:
            requests.append(request.url)

    page.on("request", note)
    page.goto(url, wait_until="commit")
    page.locator(".history-row[aria-setsize]").nth(20).wait_for(state="visible")
    milliseconds = float(page.evaluate("performance.now()"))
    return milliseconds, len(requests)


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversations", type=int, default=10_000)
    count = parser.parse_args().conversations
    chromium = next(path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name)))
    with tempfile.TemporaryDirectory() as folder:
        store_url = f"sqlite:///{Path(folder) / 'chats.db'}"
        fill(store_url, count)
        with server(store_url) as url, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            times = []
            for _ in range(RUNS):
                page = browser.new_page()
                milliseconds, num_requests = measure_first_list(page, url)
                times.append(milliseconds)
                page.close()
            page = browser.new_page()
            page.goto(url)
            page.wait_for_selector("body[data-ready]")
            result = page.evaluate(FRAME_SCRIPT)
            start = time.perf_counter()
            page.fill("#history-search", f"Answer {count // 2}.")
            page.wait_for_selector(".history-match:visible")
            search_seconds = time.perf_counter() - start
            browser.close()
    frames = result["frames"]
    print(f"conversations                   {count:,}")
    print(
        f"first list, median of {RUNS}         {statistics.median(times):.0f} ms ({min(times):.0f} to {max(times):.0f})"
    )
    print(f"requests for conversations      {num_requests}")
    print(f"rows that are drawn at the end  {result['drawn']:,}")
    print(f"frames while scrolling          {len(frames):,}")
    print(f"longest frame                   {max(frames):.0f} ms")
    print(f"frames above 50 ms              {sum(frame > 50 for frame in frames) / len(frames):.1%}")
    print(f"search for a text               {search_seconds:.2f} s")


if __name__ == "__main__":
    main()
