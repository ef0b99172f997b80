"""Compares sampling settings as defaults for models whose `generation_config.json` has none.

    python benchmarks/sampling_defaults.py FOLDER                 a grid of settings
    python benchmarks/sampling_defaults.py FOLDER --seeds 2 --quantize int4

Sends the questions of `questions.py` with several seeds and counts correct answers, with a 95 % interval (Wilson). For
the open prompts it reports distinct-2: the share of distinct word pairs in the answers to a prompt, over all seeds.
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


async def generate(
    service: ChatService, prompts: Sequence[str], num_seeds: int, sampling: dict[str, Any]
) -> list[list[str]]:
    """Answers by prompt and seed."""
    slots = asyncio.Semaphore(32)

    async def answer(prompt: str, seed: int) -> str:
        async with slots:
            request = ChatRequest((Message("user", prompt),), {**sampling, "max_tokens": MAX_TOKENS, "seed": seed})
            return (await service.reply(request)).choices[0].text

    answers = await asyncio.gather(*(answer(prompt, seed) for prompt in prompts for seed in range(num_seeds)))
    return [answers[i : i + num_seeds] for i in range(0, len(answers), num_seeds)]


def distinct_pairs(answers: Sequence[str]) -> float:
    """Distinct-2 of several answers to one prompt (Li et al. 2016)."""
    pairs = [pair for words in map(str.split, map(str.lower, answers)) for pair in itertools.pairwise(words)]
    return len(set(pairs)) / len(pairs) if pairs else 0.0


def main() -> None:
    """Print a table of the settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--quantize", choices=["int8", "int4"])
    args = parser.parse_args()
    print(f"| settings | right of {len(QUESTIONS) * args.seeds} | 95 % interval | distinct pairs | seconds |")
    print("| --- | --- | --- | --- | --- |")
    with open_chat_service(args.folder, quantize=args.quantize, max_num_seqs=32) as service:
        for name, sampling in SETTINGS.items():
            start = time.monotonic()
            questions = [question for question, _ in QUESTIONS]
            answers = asyncio.run(generate(service, questions, args.seeds, sampling))
            correct = sum(
                re.search(pattern, text, re.IGNORECASE) is not None
                for (_, pattern), texts in zip(QUESTIONS, answers, strict=True)
                for text in texts
            )
            total = len(QUESTIONS) * args.seeds
            interval = binomtest(correct, total).proportion_ci(method="wilson")
            open_answers = asyncio.run(generate(service, OPEN_PROMPTS, args.seeds, sampling))
            distinct_2 = sum(map(distinct_pairs, open_answers)) / len(open_answers)
            print(
                f"| {name} | {correct} ({correct / total:.0%}) | {interval.low:.0%} to {interval.high:.0%} "
                f"| {distinct_2:.2f} | {time.monotonic() - start:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
