"""Time to the first token, turn by turn, with what was read before and without.

    python benchmarks/turns.py                    the model in the box
    python benchmarks/turns.py FOLDER --turns 8 --rounds 7

A conversation grows by a question and an answer of fixed lengths with every turn. With the prefix cache a turn reads
what is new; without it (every turn in a scope of its own) it reads everything again. Medians over rounds.
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

QUESTION, ANSWER = 40, 40
GREEDY = GenerationParams(temperature=0)


def answer(engine: Engine, ids: list[int], scope: str) -> tuple[float, list[int]]:
    """Seconds to the first token, and all tokens."""
    said: list[int] = []
    first, done = [0.0], threading.Event()

    def on_event(event: GenerationEvent) -> None:
        if isinstance(event, TokenEvent):
            first[0] = first[0] or time.perf_counter()
            said.append(event.token_id)
        if event.finish_reason:
            done.set()

    start = time.perf_counter()
    engine.submit(GenerationRequest(tuple(ids), GREEDY, ANSWER, frozenset(), scope=scope), on_event)
    done.wait()
    return first[0] - start, said


def conversation(engine: Engine, vocab: int, turns: int, system: int, name: str, *, shared: bool) -> list[float]:
    """Seconds to the first token of every turn."""
    ids = [7 + place % (vocab - 7) for place in range(system)]
    found = []
    for turn in range(turns):
        ids += [5 + (turn * 31 + place * 7) % (vocab - 5) for place in range(QUESTION)]
        took, said = answer(engine, ids, name if shared else f"{name} {turn}")
        found.append(took)
        ids += said
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="a model folder; left out: the model in the box")
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--system", type=int, default=0, help="tokens of instructions before the first turn")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    decoder = checkpoint.load(Path(resolve_model_folder(given.model)), dtype=torch.float32).decoder
    engine = Engine(decoder, max_num_seqs=2)
    rounds: dict[bool, list[list[float]]] = {True: [], False: []}
    for number in range(given.rounds + 1):
        for shared in (True, False):
            name, vocab = f"{number} {shared}", decoder.config.vocab_size
            found = conversation(engine, vocab, given.turns, given.system, name, shared=shared)
            if number:  # the first one warms up
                rounds[shared].append(found)
    engine.close()
    times = {shared: [statistics.median(turn) for turn in zip(*found, strict=True)] for shared, found in rounds.items()}
    print("| turn | tokens before | first token with the cache, ms | by turn 1 | without, ms | by turn 1 |")
    print("| --- | --- | --- | --- | --- | --- |")
    for turn in range(given.turns):
        cells = [
            f"{1000 * times[shared][turn]:.2f} | {times[shared][turn] / times[shared][0]:.2f}×" for shared in times
        ]
        print(f"| {turn + 1} | {given.system + turn * (QUESTION + ANSWER)} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
