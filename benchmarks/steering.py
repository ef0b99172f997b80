"""Times looking into an answer and going on from another word, over HTTP.

    python benchmarks/steering.py [--model NAME] [--rounds N]

An answer is generated. Then, at places spread over it, the distribution of the next token is requested, and the answer
goes on from its second most likely token; the time runs from the request to the first chunk with text. "Cold" requests
have a prompt cache key of their own, so that nothing is in the prefix cache. Reports the median and the largest of all
rounds.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import httpx

from turnwise.app.chat_services import open_chat_service
from turnwise.server.app import create_app
from turnwise.testing import serve_in_thread

QUESTION = [
    {"role": "user", "content": "Explain in a few sentences how I can cancel an order that was sent yesterday."}
]
ANSWER_TOKENS = 120
PLACES = 6


def seconds(work: Callable[[], Any]) -> float:
    """Duration of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class Client:
    """Requests of one conversation.

    Args:
        http: client of the server.
    """

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._body = {"model": "latest", "messages": QUESTION}

    def post(self, path: str, **fields: Any) -> Any:
        """The response to a request."""
        response = self._http.post(path, json=self._body | fields)
        response.raise_for_status()
        return response.json()

    def wait_for_text(self, **fields: Any) -> None:
        """Send a streamed request and return at the first chunk with text."""
        body = self._body | {"stream": True} | fields
        with self._http.stream("POST", "/v1/chat/completions", json=body) as response:
            response.raise_for_status()
            for line in response.iter_lines():
                if line.startswith("data: {") and any(
                    choice["delta"].get("content") for choice in json.loads(line[6:])["choices"]
                ):
                    return


def measure(client: Client, rounds: int) -> dict[str, list[float]]:
    """Durations in seconds, by what was measured."""
    answer = client.post("/v1/chat/completions", max_tokens=ANSWER_TOKENS, seed=1)["choices"][0]["message"]["content"]
    scored = client.post("/v1/answer_tokens", answer=answer)
    ids = [token["id"] for token in scored["tokens"]]
    durations: dict[str, list[float]] = {
        "all tokens of the answer": [], "next token": [], "first new token": [], "first new token, cold": [],
    }  # fmt: skip
    for number in range(rounds):
        durations["all tokens of the answer"].append(seconds(lambda: client.post("/v1/answer_tokens", answer=answer)))
        for position in range(0, len(ids), max(1, len(ids) // PLACES)):
            before = {"answer_tokens": ids[:position]} if position else {}
            durations["next token"].append(
                seconds(lambda before=before: client.post("/v1/next_token", top=50, **before))
            )
            distribution = client.post("/v1/next_token", top=5, temperature=1, top_p=1, **before)
            alternative = next(token["id"] for token in distribution["tokens"][1:] if not token["ends_answer"])
            fields = {"answer_tokens": [*ids[:position], alternative], "max_tokens": 8}
            durations["first new token"].append(seconds(lambda fields=fields: client.wait_for_text(**fields)))
            cold = fields | {"prompt_cache_key": f"{number} {position}"}
            durations["first new token, cold"].append(seconds(lambda cold=cold: client.wait_for_text(**cold)))
    return durations


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="default: the default model")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with (
        open_chat_service(arguments.model) as service,
        serve_in_thread(create_app({"model": service}, default="model")) as url,
        httpx.Client(base_url=url, timeout=60) as http,
    ):
        for name, values in measure(Client(http), arguments.rounds).items():
            median, largest = statistics.median(values) * 1000, max(values) * 1000
            print(f"{name:<26} median {median:6.1f} ms, largest {largest:6.1f} ms, {len(values)} requests")


if __name__ == "__main__":
    main()
