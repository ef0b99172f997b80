"""Turnwise's engine as a side of peers.py: turnwise_side.py MODEL WIDEST [int8|int4]"""

import json
import sys
import threading
import time

import torch

from turnwise.core.inference import GenerationEvent, GenerationRequest
from turnwise.core.parameters import GenerationParams
from turnwise.engine.engine import Engine
from turnwise.models.checkpoint import Checkpoint
from turnwise.models.model_folders import find_model_folder

PROMPT = 128
GREEDY = GenerationParams(temperature=0)


def generate(engine: Engine, scope: str, width: int, new: int) -> dict[str, float]:
    """Tokens a second: of prompts until all have been read, and of answers while all chats are at theirs."""
    ended = threading.Semaphore(0)
    firsts: list[float] = []
    times: list[float] = []
    finishes: list[float] = []

    def listener(event: GenerationEvent, first: list[bool]) -> None:
        now = time.perf_counter()
        times.append(now)
        if first:
            first.clear()
            firsts.append(now)
        if event.finish_reason:
            finishes.append(now)
            ended.release()

    start = time.perf_counter()
    for row in range(width):
        ids = tuple(5 + (place * 7 + row * 13) % 4000 for place in range(PROMPT))
        request = GenerationRequest(ids, GREEDY, new, frozenset(), scope=scope)
        engine.submit(request, lambda event, first=[True]: listener(event, first))
    for _ in range(width):
        ended.acquire()
    if new == 1:
        return {"prefill": width * PROMPT / (max(firsts) - start)}
    begin, end = max(firsts), min(finishes)
    return {"decode": sum(begin < moment <= end for moment in times) / (end - begin)}


def main() -> None:
    """Answer every line of standard input, `WIDTH NEW`, with the figures as JSON."""
    more = {"quantize": sys.argv[3]} if len(sys.argv) > 3 else {}
    weights = Checkpoint(find_model_folder(sys.argv[1]), dtype=torch.float32)
    # Without drafts: a random checkpoint says the same again and again, which no chat does.
    engine = Engine(weights, max_num_seqs=int(sys.argv[2]), enable_speculation=False, **more)
    for number, line in enumerate(sys.stdin):
        width, new = map(int, line.split())
        # A scope of its own: nothing is shared with an earlier round. Prompts are read in turn, beside the chats whose
        # own was read before, so answers are long enough for all to be at theirs for `new` tokens.
        first = generate(engine, f"{number} first", width, 1)
        both = generate(engine, f"{number} whole", width, new + 2 * width)
        print(json.dumps(first | both), flush=True)
    engine.close()


main()
