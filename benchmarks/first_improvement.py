"""The walk-through of docs/guide/improve.md with real commands and a clock: chat, correct, improve, roll back, erase.

    python benchmarks/first_improvement.py --out walk --models ~/.local/share/turnwise/models

A server with the default model answers ten questions to a bakery. A person corrects all ten over the API.
`turnwise improve --once` runs beside the server. Printed: minutes, outcome with its reason, answers to questions in
other words before and after, whether the roll-back restores the answers, and the files that still hold a text of the
person after `turnwise privacy erase`.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

BAKERY = Path(__file__).with_name("improvement_parts") / "bakery.yaml"
CORRECTIONS = [(row["question"], row["correction"]) for row in yaml.safe_load(BAKERY.read_text(encoding="utf-8"))]
TESTS = (
    "What time do you open on Saturdays?", "What does a loaf of sourdough cost?", "Can you bring bread to my home?",
    "Where is your bakery?", "Are there vegan croissants?", "What is the capital of France?", "Who are you?",
)  # fmt: skip
USER = "walk-through-person"


class Walk:
    """Commands and requests with a fresh home."""

    def __init__(self, home: Path, port: int) -> None:
        """Use a home and a port."""
        self.home, self.url = home, f"http://127.0.0.1:{port}"
        self.environment = {**os.environ, "TURNWISE_HOME": str(home)}
        self._port = port

    def run(self, *arguments: str) -> str:
        """Run a command and return what it prints. A failure ends the walk."""
        command = [sys.executable, "-m", "turnwise", *arguments]
        return subprocess.run(command, env=self.environment, check=True, stdout=subprocess.PIPE, text=True).stdout

    @contextmanager
    def server(self) -> Iterator[None]:
        """A server that answers within the block."""
        command = [sys.executable, "-m", "turnwise", "serve", "--port", str(self._port), "--no-web"]
        with (self.home / "server.log").open("w") as log:
            process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        try:
            while not self._is_ready():
                time.sleep(0.2)
                assert process.poll() is None, (self.home / "server.log").read_text()
            yield
        finally:
            process.terminate()
            process.wait()

    def _is_ready(self) -> bool:
        try:
            self.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}], "model": "latest",
                                               "max_tokens": 1})  # fmt: skip
        except OSError:
            return False
        return True

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The JSON answer to a request."""
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=300) as response:
            return dict(json.load(response))

    def ask(self, question: str, **more: Any) -> dict[str, Any]:
        """The completion for a question."""
        messages = [{"role": "user", "content": question}]
        body = {"model": "latest", "messages": messages, "temperature": 0, "max_tokens": 80, "user": USER, **more}
        return self.post("/v1/chat/completions", body)

    def answers(self, questions: Sequence[str]) -> list[str]:
        """Greedy answers, nothing of which is stored."""
        return [self.ask(question)["choices"][0]["message"]["content"] for question in questions]


def main() -> None:
    """Walk through."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="new folder, TURNWISE_HOME of the walk")
    parser.add_argument("--models", type=Path, help="folder of pulled models to link; default: pull the base model")
    parser.add_argument("--port", type=int, default=8123)
    options = parser.parse_args()
    home = options.out.resolve()
    home.mkdir(parents=True)
    walk, start = Walk(home, options.port), time.monotonic()

    def step(text: str) -> None:
        print(f"[{(time.monotonic() - start) / 60:5.1f} min] {text}", flush=True)

    if options.models is not None:
        (home / "models").symlink_to(options.models.resolve())
    else:
        walk.run("models", "pull", "smollm2")
    with walk.server():
        before = walk.answers(TESTS)
        step("the server answers")
        for question, correction in CORRECTIONS:
            completion = walk.ask(question, store=True)
            walk.post("/v1/feedback", {"completion_id": completion["id"], "correction": correction, "user": USER})
        step(f"{len(CORRECTIONS)} answers are corrected")
        print(walk.run("improve", "--once"))
        step("the cycle has ended")
        time.sleep(3)
        after = walk.answers(TESTS)
        for question, old, new in zip(TESTS, before, after, strict=True):
            print(f"  {question}\n    before: {old}\n    after:  {new}")
        if before != after:
            model = json.loads(walk.run("improve", "status", "--json"))[-1]["model"]
            walk.run("models", "rollback", model)
            time.sleep(3)
            step(f"rolled back: the answers are {'the' if walk.answers(TESTS) == before else 'NOT the'} old ones")
    walk.run("privacy", "erase", "--user", USER, "--yes")
    step(f"erased; files that hold a text of the person: {files_with_texts(home)}")


def files_with_texts(home: Path) -> list[str]:
    """Files below a folder that hold a correction, a question of the person, or their name."""
    texts = [re.sub(r"\W+$", "", text).encode() for pair in CORRECTIONS for text in pair if len(text) > 20]
    texts.append(USER.encode())
    files = [path for path in home.rglob("*") if path.is_file() and "models" not in path.relative_to(home).parts[:1]]
    return [str(path.relative_to(home)) for path in files if any(text in path.read_bytes() for text in texts)]


if __name__ == "__main__":
    main()
