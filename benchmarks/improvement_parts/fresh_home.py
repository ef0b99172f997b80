"""A fresh TURNWISE_HOME with a server of the default model, whose answers about a bakery one person corrects."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

BAKERY = Path(__file__).with_name("bakery.yaml")
CORRECTIONS = [(row["question"], row["correction"]) for row in yaml.safe_load(BAKERY.read_text(encoding="utf-8"))]
USER = "walk-through-person"


class FreshHome:
    """Commands and requests with a fresh home.

    Attributes:
        home: the folder.
        url: address of its server.
        environment: environment of its processes.
    """

    def __init__(self, home: Path, port: int, models: Path | None = None) -> None:
        """Create the folder.

        Args:
            home: folder to create.
            port: port of the server.
            models: folder of pulled models to link; None pulls the base of the default model.
        """
        self.home, self.url = home.resolve(), f"http://127.0.0.1:{port}"
        self.environment = {**os.environ, "TURNWISE_HOME": str(self.home)}
        self._port = port
        self.home.mkdir(parents=True)
        if models is None:
            self.run("models", "pull", "smollm2")
        else:
            (self.home / "models").symlink_to(models.resolve())

    def run(self, *arguments: str) -> str:
        """Run a command and return what it prints. A failure ends the walk."""
        command = [sys.executable, "-m", "turnwise", *arguments]
        return subprocess.run(command, env=self.environment, check=True, stdout=subprocess.PIPE, text=True).stdout

    @contextmanager
    def server(self) -> Iterator[None]:
        """A server that answers within the block."""
        command = [sys.executable, "-m", "turnwise", "serve", "--port", str(self._port), "--no-web"]
        with (self.home / "server.log").open("w") as log:
            process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, start_new_session=True)
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

    def correct_answers(self) -> None:
        """Ask the questions to the bakery, and correct each answer."""
        for question, correction in CORRECTIONS:
            completion = self.ask(question, store=True)
            self.post("/v1/feedback", {"completion_id": completion["id"], "correction": correction, "user": USER})
