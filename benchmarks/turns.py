"""Time to the first token at every turn of a conversation, with and without the prefix cache.

    python benchmarks/turns.py                    the default model
    python benchmarks/turns.py FOLDER --turns 8 --rounds 7

Every turn adds a question and an answer of fixed lengths. With the prefix cache, a turn computes only its new tokens.
Without it (every turn has its own scope), it computes the complete prompt. Figures are medians over rounds.
"""

import argparse
import statistics
import threading
import time
from pathlib import Path

import torch

from turnwise.app.model_names import resolve_model_folder
from turnwise.core.inference import GenerationEvent, GenerationRequest, TokenEvent
from turnwise.core.parameters import GenerationParams
from turnwise.engine.engine import Engine
from turnwise.models import checkpoint

QUESTION_TOKENS, ANSWER_TOKENS = 40, 40
GREEDY = GenerationParams(temperature=0)


def generate(engine: Engine, prompt: list[int], scope: str) -> tuple[float, list[int]]:
    """Seconds to the first token, and the tokens of the answer."""
    answer: list[int] = []
    token_times: list[float] = []
    finished = threading.Event()

    def on_event(event: GenerationEvent) -> None:
        if isinstance(event, TokenEvent):
            token_times.append(time.perf_counter())
            answer.append(event.token_id)
        if event.finish_reason:
            finished.set()

    start = time.perf_counter()
    engine.submit(GenerationRequest(tuple(prompt), GREEDY, ANSWER_TOKENS, frozenset(), scope=scope), on_event)
    finished.wait()
    return token_times[0] - start, answer


def measure_conversation(
    engine: Engine, vocab_size: int, turns: int, system_tokens: int, name: str, *, use_cache: bool
) -> list[float]:
    """Seconds to the first token of every turn of a conversation with this unique name."""
    prompt = [7 + position % (vocab_size - 7) for position in range(system_tokens)]
    times = []
    for turn in range(turns):
        prompt += [5 + (turn * 31 + position * 7) % (vocab_size - 5) for position in range(QUESTION_TOKENS)]
        seconds, answer = generate(engine, prompt, name if use_cache else f"{name} {turn}")
        times.append(seconds)
        prompt += answer
    return times


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="tiny", help="a model name or folder; default: tiny")
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--system", type=int, default=0, help="tokens of a system prompt (default: 0)")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    decoder = checkpoint.load(Path(resolve_model_folder(args.model)), dtype=torch.float32).decoder
    vocab_size = decoder.config.vocab_size
    engine = Engine(decoder, max_num_seqs=2)
    rounds: dict[bool, list[list[float]]] = {True: [], False: []}  # by `use_cache`
    for number in range(args.rounds + 1):
        for use_cache in (True, False):
            name = f"{number} {use_cache}"
            times = measure_conversation(engine, vocab_size, args.turns, args.system, name, use_cache=use_cache)
            if number:  # the first round warms up
                rounds[use_cache].append(times)
    engine.close()
    medians = {
        use_cache: [statistics.median(turn_times) for turn_times in zip(*conversations, strict=True)]
        for use_cache, conversations in rounds.items()
    }
    print("| turn | earlier tokens | first token with the cache, ms | / turn 1 | without, ms | / turn 1 |")
    print("| --- | --- | --- | --- | --- | --- |")
    for turn in range(args.turns):
        cells = [f"{1000 * times[turn]:.2f} | {times[turn] / times[0]:.2f}×" for times in medians.values()]
        print(f"| {turn + 1} | {args.system + turn * (QUESTION_TOKENS + ANSWER_TOKENS)} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
