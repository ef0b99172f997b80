"""Which sampling settings answer well where a model's own configuration says nothing.

    python benchmarks/sampling_defaults.py FOLDER                 a grid of settings
    python benchmarks/sampling_defaults.py FOLDER --seeds 2 --quantize int4

Asks the questions of `questions.py` with several seeds and counts right answers, with a 95 % interval (Wilson); asks
the open prompts and reports how varied the answers are: the share of distinct word pairs over all seeds of a prompt.
"""

import argparse
import asyncio
import itertools
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from scipy.stats import binomtest

from questions import OPEN_PROMPTS, QUESTIONS
from turnwise.app.chat_services import open_chat_service
from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_service import ChatService
from turnwise.core.messages import Message

MAX_TOKENS = 160
SETTINGS: Mapping[str, dict[str, Any]] = {
    "T 1 (published defaults)": {"temperature": 1.0},
    "T 0.8, top_k 40, top_p 0.95, min_p 0.05": {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05},
    "T 0.8, min_p 0.05": {"temperature": 0.8, "min_p": 0.05},
    "T 0.8, min_p 0.1": {"temperature": 0.8, "min_p": 0.1},
    "T 0.7, min_p 0.05": {"temperature": 0.7, "min_p": 0.05},
    "T 0.7, min_p 0.1": {"temperature": 0.7, "min_p": 0.1},
    "T 0.7, top_p 0.9": {"temperature": 0.7, "top_p": 0.9},
    "T 0.5, min_p 0.1": {"temperature": 0.5, "min_p": 0.1},
    "T 0.3": {"temperature": 0.3},
    "T 0": {"temperature": 0.0},
}


async def ask(service: ChatService, prompts: Sequence[str], seeds: int, sampling: dict[str, Any]) -> list[list[str]]:
    """The answers to each prompt, one per seed."""
    slots = asyncio.Semaphore(32)

    async def answer(prompt: str, seed: int) -> str:
        async with slots:
            request = ChatRequest((Message("user", prompt),), {**sampling, "max_tokens": MAX_TOKENS, "seed": seed})
            return (await service.reply(request)).choices[0].text

    flat = await asyncio.gather(*(answer(prompt, seed) for prompt in prompts for seed in range(seeds)))
    return [flat[i : i + seeds] for i in range(0, len(flat), seeds)]


def distinct_pairs(answers: Sequence[str]) -> float:
    """Distinct-2 over several answers to one prompt (Li et al. 2016)."""
    pairs = [pair for words in map(str.split, map(str.lower, answers)) for pair in itertools.pairwise(words)]
    return len(set(pairs)) / len(pairs) if pairs else 0.0


def main() -> None:
    """Print a table of the settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--quantize", choices=["int8", "int4"])
    arguments = parser.parse_args()
    print(f"| settings | right of {len(QUESTIONS) * arguments.seeds} | 95 % interval | distinct pairs | seconds |")
    print("| --- | --- | --- | --- | --- |")
    with open_chat_service(arguments.folder, quantize=arguments.quantize, max_num_seqs=32) as service:
        for name, sampling in SETTINGS.items():
            start = time.monotonic()
            asked = asyncio.run(ask(service, [question for question, _ in QUESTIONS], arguments.seeds, sampling))
            right = sum(
                re.search(pattern, text, re.IGNORECASE) is not None
                for (_, pattern), texts in zip(QUESTIONS, asked, strict=True)
                for text in texts
            )
            total = len(QUESTIONS) * arguments.seeds
            interval = binomtest(right, total).proportion_ci(method="wilson")
            opened = asyncio.run(ask(service, OPEN_PROMPTS, arguments.seeds, sampling))
            varied = sum(map(distinct_pairs, opened)) / len(opened)
            print(
                f"| {name} | {right} ({right / total:.0%}) | {interval.low:.0%} to {interval.high:.0%} | {varied:.2f} "
                f"| {time.monotonic() - start:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
