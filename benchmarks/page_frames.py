"""The first paint of the chat page, and its frames: while answers arrive quickly, and in a chat of 1,000 turns.

    python benchmarks/page_frames.py [--characters 20000] [--tokens-per-second 500] [--turns 1000]

The real page runs in Chromium. The answers come from a stream inside the page, so that the server takes no time of the
processor. For every kind of answer it prints the longest frame and the frames above 50 ms, as the clock shows them,
and the longest task of the page and all its tasks in time of the processor, which programs beside it hardly change. The
first row is a page without an answer: what the machine itself does to frames. Then it opens a stored chat of many turns
and scrolls in it. The first paint is that of text ("first contentful paint"), each time with an empty cache.
"""

import argparse
import contextlib
import json
import shutil
import statistics
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from turnwise.core.messages import Message
from turnwise.server.app import create_app
from turnwise.store import open_store
from turnwise.testing import ScriptedChatService, serve_in_thread

TOKEN_CHARS = 4
LIMIT_MS = 50
NUM_LOADS = 9
WORDS = "The quick brown fox jumps over the lazy dog and looks at the **bold** hills, `the code` and the *river*. "
PARAGRAPH = WORDS * 4 + "\n\n"
ANSWERS = {
    "paragraphs": PARAGRAPH,
    "one paragraph": WORDS,
    "a list": "- a point with **bold** text and `code` that says something\n",
    "a table": "| apples and pears | 12 | **fine** | `x` |\n",
    "code": 'def function(value: int) -> str:\n    """Return a text."""\n    return f"{value!r}"  # comment\n\n',
    "formulas": "The sum is $\\sum_{k=1}^n k = \\frac{n(n+1)}{2}$ and so on.\n\n$$\\int_0^1 x^{k}\\,dx$$\n\n",
}
STARTS = {"a table": "| name | count | note | code |\n| --- | ---: | --- | --- |\n", "code": "```python\n"}

# Replaces the request of an answer by a stream that sends `window.answer`, and records the time of each frame.
FAKE_STREAM = """
const request = window.fetch;
window.frames_ = [];
let last = 0;
const onFrame = (now) => { if (last) frames_.push(now - last); last = now; requestAnimationFrame(onFrame); };
requestAnimationFrame(onFrame);
window.longFrames = [];
new PerformanceObserver((list) => longFrames.push(...list.getEntries().map((entry) => entry.duration)))
  .observe({ type: 'long-animation-frame', buffered: true });
window.fetch = (path, options) => {
  if (!String(path).endsWith('/chat/completions') || !window.answer) return request(path, options);
  const encoder = new TextEncoder();
  const event = (delta, finish_reason = null) =>
    encoder.encode(`data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason }] })}\\n\\n`);
  const { text, tokenChars, tokensPerSecond } = window.answer;
  const stream = new ReadableStream({
    async start(controller) {
      const start = performance.now();
      for (let at = 0; at < text.length; ) {
        await new Promise((done) => setTimeout(done, 4));
        const due = Math.floor(((performance.now() - start) / 1000) * tokensPerSecond) * tokenChars;
        for (; at < Math.min(due, text.length); at += tokenChars) {
          controller.enqueue(event({ content: text.slice(at, at + tokenChars) }));
        }
      }
      controller.enqueue(event({}, 'stop'));
      controller.enqueue(encoder.encode('data: [DONE]\\n\\n'));
      controller.close();
    },
  });
  return Promise.resolve(new Response(stream, { headers: { 'Content-Type': 'text/event-stream' } }));
};
"""

# Milliseconds from the navigation to the first paint of text.
FIRST_PAINT = """new Promise((done) => new PerformanceObserver((list) => {
  const entry = list.getEntriesByName('first-contentful-paint')[0];
  if (entry) done(entry.startTime);
}).observe({ type: 'paint', buffered: true }))"""

# Opens a chat and returns the milliseconds until its last message has been drawn.
OPEN = """(path) => new Promise((done) => {
  const start = performance.now();
  location.hash = path;
  const onFrame = () => {
    const isShown = document.querySelector('.message.last .heading');
    if (isShown) setTimeout(() => done(performance.now() - start)); else requestAnimationFrame(onFrame);
  };
  requestAnimationFrame(onFrame);
})"""

# Scrolls by `step` pixels in each of 300 frames.
SCROLL = """(step) => new Promise((done) => {
  const scroller = document.getElementById('scroller');
  let left = 300;
  const onFrame = () => {
    scroller.scrollTop += step;
    left -= 1;
    if (left) requestAnimationFrame(onFrame); else done();
  };
  requestAnimationFrame(onFrame);
})"""


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--characters", type=int, default=20_000, help="length of each answer")
    parser.add_argument("--tokens-per-second", type=int, default=500, help=f"tokens of {TOKEN_CHARS} characters")
    parser.add_argument("--turns", type=int, default=1000, help="turns of the stored chat")
    arguments = parser.parse_args()
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(contextlib.closing(open_store("sqlite:///:memory:")))
        app = create_app({"scripted": ScriptedChatService(store=store)}, default="scripted")
        url = stack.enter_context(serve_in_thread(app))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        print(f"Load average: {Path('/proc/loadavg').read_text().split()[0]}")
        measure_first_paint(browser, url)
        print(f"{'answer':<16}{'longest frame':>14}{'> 50 ms':>8}{'longest task':>16}{'all tasks':>11}")
        measure_quiet_page(browser, url)
        for kind in ANSWERS:
            measure_answer(browser, url, kind, arguments.characters, arguments.tokens_per_second)
        measure_chat(browser, url, stored_chat(store, arguments.turns), arguments.turns)
        browser.close()


def answer_text(kind: str, num_chars: int) -> str:
    """An answer of a kind with about `num_chars` characters."""
    unit = ANSWERS[kind]
    return STARTS.get(kind, "") + unit * (num_chars // len(unit) + 1)


class Recording:
    """Records the frames and tasks of a page."""

    def __init__(self, browser: Browser, page: Page) -> None:
        self.browser, self.page = browser, page
        page.evaluate("() => { frames_.length = 0; longFrames.length = 0; }")
        browser.start_tracing(page=page, categories=["toplevel", "disabled-by-default-devtools.timeline"])

    def finish(self) -> str:
        """Return the longest frame, the number of long ones, and the longest task and all tasks, as columns."""
        trace = json.loads(self.browser.stop_tracing())["traceEvents"]
        frames: list[float] = self.page.evaluate("frames_")
        num_long = sum(duration > LIMIT_MS for duration in self.page.evaluate("longFrames"))
        names = {(e["pid"], e["tid"]): e["args"]["name"] for e in trace if e["name"] == "thread_name"}
        tasks: dict[int, list[float]] = {}
        for event in trace:
            if event["name"] == "RunTask" and names.get((event["pid"], event["tid"])) == "CrRendererMain":
                tasks.setdefault(event["pid"], []).append(event.get("tdur", 0) / 1000)
        page_tasks = max(tasks.values(), key=sum)
        return f"{max(frames):>11.0f} ms{num_long:>8}{max(page_tasks):>13.1f} ms{sum(page_tasks) / 1000:>9.2f} s"


def measure_first_paint(browser: Browser, url: str) -> None:
    """Print the time of the first paint, and the time until the page can be used."""
    paints, ready = [], []
    for _ in range(NUM_LOADS):
        page = browser.new_page()
        page.goto(url, wait_until="commit")
        page.wait_for_selector("body[data-ready]")
        ready.append(page.evaluate("performance.now()"))
        paints.append(page.evaluate(FIRST_PAINT))
        page.close()
    for name, times in (("First paint", paints), ("Ready", ready)):
        median, spread = statistics.median(times), f"{min(times):.0f} to {max(times):.0f}"
        print(f"{name}: {median:.0f} ms ({spread} ms in {NUM_LOADS} loads)")


def measure_quiet_page(browser: Browser, url: str) -> None:
    """Print the frames of a page on which nothing happens."""
    page = open_page(browser, url)
    recording = Recording(browser, page)
    page.wait_for_timeout(5000)
    print(f"{'(no answer)':<16}{recording.finish()}", flush=True)
    page.close()


def open_page(browser: Browser, url: str) -> Page:
    """Open the chat page and wait until it is idle."""
    page = browser.new_page()
    page.add_init_script(FAKE_STREAM)
    page.goto(url)
    page.wait_for_selector("body[data-ready]")
    page.wait_for_timeout(500)
    return page


def measure_answer(browser: Browser, url: str, kind: str, num_chars: int, tokens_per_second: int) -> None:
    """Print the frames of a page while an answer arrives."""
    answer = {"text": answer_text(kind, num_chars), "tokenChars": TOKEN_CHARS, "tokensPerSecond": tokens_per_second}
    page = open_page(browser, url)
    page.evaluate("(answer) => { window.answer = answer; }", answer)
    recording = Recording(browser, page)
    page.fill("#prompt", "go")
    page.press("#prompt", "Enter")
    page.wait_for_selector(".message.assistant:not(.growing) .body", timeout=300_000)
    page.wait_for_timeout(500)
    print(f"{kind:<16}{recording.finish()}", flush=True)
    page.close()


def stored_chat(store: Any, num_turns: int) -> str:
    """Store a chat and return its id."""
    conversation = store.create(title="A long chat", model="scripted")
    messages = []
    for turn in range(num_turns):
        text = f"## Answer {turn}\n\n{WORDS}\n\n- one\n- two\n\n```python\nprint({turn})\n```\n\n{WORDS}"
        messages += [Message("user", f"Question {turn}: {WORDS}"), Message("assistant", text)]
    store.append(conversation.id, messages)
    return str(conversation.id)


def measure_chat(browser: Browser, url: str, path: str, num_turns: int) -> None:
    """Print how long it takes to open a chat, and the frames while scrolling in it."""
    page = open_page(browser, url)
    recording = Recording(browser, page)
    milliseconds = page.evaluate(OPEN, path)
    columns = recording.finish()
    waited = page.evaluate(
        "performance.getEntriesByType('resource').filter(({ name }) => name.includes('conversations/'))"
        ".reduce((sum, { duration }) => sum + duration, 0)"
    )
    print(
        f"\nA chat of {num_turns} turns: opened after {milliseconds:.0f} ms, of which the server took {waited:.0f} ms"
    )
    print(f"{'opening':<16}{columns}", flush=True)
    recording = Recording(browser, page)
    page.wait_for_timeout(3000)
    print(f"{'after opening':<16}{recording.finish()}", flush=True)
    recording = Recording(browser, page)
    for step in (-120, -900, 900):
        page.evaluate(SCROLL, step)
    print(f"{'scrolling':<16}{recording.finish()}", flush=True)


if __name__ == "__main__":
    main()
