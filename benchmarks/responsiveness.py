"""Delay of a server's other clients while one client sends a very large request.

    python benchmarks/responsiveness.py [MODEL]

A server sends one endless stream while another client sends requests of up to 3.9 MB, and `/health` is requested 20
times a second. For every request it prints the status, the duration, the longest gap between two events of the stream,
and the slowest `/health`.
"""

import argparse
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

SIZE = 3_900_000
PAUSE = 1.0  # seconds after each request that still count


def chat(content: str) -> dict[str, object]:
    """A chat request with one message."""
    return {"model": "latest", "messages": [{"role": "user", "content": content}], "max_tokens": 1}


def words(size: int) -> str:
    """English text of about `size` characters."""
    sentence = "The quick brown fox jumps over the lazy dog. "
    return sentence * (size // len(sentence))


REQUESTS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "minimal request": ("/tokenize", lambda: json.dumps({"prompt": "a"}).encode()),
    "chat, 1 MB of one letter": ("/v1/chat/completions", lambda: json.dumps(chat("a" * 1_000_000)).encode()),
    "chat, 3.9 MB of one letter": ("/v1/chat/completions", lambda: json.dumps(chat("a" * SIZE)).encode()),
    "chat, 3.9 MB of words": ("/v1/chat/completions", lambda: json.dumps(chat(words(SIZE))).encode()),
    "chat, 300 kB of words": ("/v1/chat/completions", lambda: json.dumps(chat(words(300_000))).encode()),
    "chat, 60 kB of words": ("/v1/chat/completions", lambda: json.dumps(chat(words(60_000))).encode()),
    "chat, 30,000 messages": (
        "/v1/chat/completions",
        lambda: json.dumps({"model": "latest", "messages": chat("a")["messages"] * 30_000}).encode(),  # type: ignore[operator]
    ),
    "completions, 3.9 MB": (
        "/v1/completions", lambda: json.dumps({"model": "latest", "prompt": words(SIZE)}).encode(),
    ),
    "embeddings, 3.9 MB": (
        "/v1/embeddings", lambda: json.dumps({"model": "latest", "input": words(SIZE)}).encode(),
    ),
    "tokenize, 3.9 MB": ("/tokenize", lambda: json.dumps({"prompt": words(SIZE)}).encode()),
    "JSON of empty lists, 3.9 MB": (
        "/v1/chat/completions", lambda: b'{"messages": [' + b",".join([b"[]"] * (SIZE // 3)) + b"]}",
    ),
    "JSON of numbers, 3.9 MB": (
        "/v1/completions", lambda: b'{"model": "latest", "prompt": [' + b",".join([b"7"] * (SIZE // 2)) + b"]}",
    ),
}  # fmt: skip


@contextmanager
def server(model: str | None) -> Iterator[str]:
    """Start a server in its own process; yield its address."""
    arguments = [*([model] if model else []), "--port", "0", "--no-web", "--store", "none"]
    with subprocess.Popen(
        [sys.executable, "-m", "turnwise", "serve", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if match := re.search(r"http://\S+", line):
                    yield match[0]
                    return
            raise SystemExit("The server did not start.")
        finally:
            process.terminate()


class GapMonitor:
    """Iterates in its own thread and measures the time between two items.

    Attributes:
        longest: longest gap in seconds; may be reset.
    """

    def __init__(self, items: Iterator[None]) -> None:
        self.longest = 0.0
        self._items = items
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        previous = time.perf_counter()
        for _ in self._items:
            now = time.perf_counter()
            self.longest = max(self.longest, now - previous)
            previous = now


def events(url: str) -> Iterator[None]:
    """Yield at every event of an endless series of streams."""
    body = {**chat("Tell me a long story."), "max_tokens": 500, "ignore_eos": True, "stream": True}
    with httpx.Client(timeout=120) as client:
        while True:
            with client.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
                for _ in response.iter_raw():
                    yield


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="tiny", help="a model name or folder; default: tiny")
    with (
        server(parser.parse_args().model) as url,
        httpx.Client(timeout=120) as client,
        httpx.Client(timeout=120, headers={"Content-Type": "application/json"}) as large_client,
    ):
        for http in (client, large_client):  # the first use of a client is slow in this process, not in the server
            http.get(f"{url}/health")
        stream = GapMonitor(events(url))
        time.sleep(3)
        print(f"{'request':30} {'status':>6} {'time':>8} {'longest gap':>12} {'/health':>9}", flush=True)
        for name, (path, body) in REQUESTS.items():
            content, slowest_health, responses = body(), 0.0, []
            stream.longest = 0.0

            def send(path: str = path, content: bytes = content, responses: list[httpx.Response] = responses) -> None:
                responses.append(large_client.post(url + path, content=content))

            start, sender = time.perf_counter(), threading.Thread(target=send)
            sender.start()
            duration = 0.0
            while sender.is_alive() or time.perf_counter() - start < duration + PAUSE:
                if sender.is_alive():
                    duration = time.perf_counter() - start
                health_start = time.perf_counter()
                client.get(f"{url}/health")
                slowest_health = max(slowest_health, time.perf_counter() - health_start)
                time.sleep(0.05)
            figures = f"{duration:6.2f} s {stream.longest * 1000:9.0f} ms {slowest_health * 1000:6.0f} ms"
            print(f"{name:30} {responses[0].status_code:6} {figures}", flush=True)


if __name__ == "__main__":
    main()
