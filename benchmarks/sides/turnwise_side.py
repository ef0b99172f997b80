"""Turnwise's engine as a side of peers.py: turnwise_side.py FOLDER WIDEST [int8|int4]"""

import json
import sys
import threading
import time
from pathlib import Path

import torch

from turnwise.core.parameters import GenerationParams
from turnwise.core.ports import GenerationRequest, TokenEvent
from turnwise.engine.engine import Engine
from turnwise.models import checkpoint

PROMPT = 128
GREEDY = GenerationParams(temperature=0)


def generate(engine: Engine, scope: str, width: int, new: int) -> tuple[float, float]:
    """Seconds until every prompt was read and from there to the end."""
    began, ended, times = threading.Semaphore(0), threading.Semaphore(0), []

    def listener(event: TokenEvent, first: list[bool]) -> None:
        if first:
            first.clear()
            began.release()
        if event.finish:
            ended.release()

    start = time.perf_counter()
    for row in range(width):
        ids = tuple(5 + (place * 7 + row * 13) % 4000 for place in range(PROMPT))
        request = GenerationRequest(ids, GREEDY, new, frozenset(), scope=scope)
        engine.submit(request, lambda event, first=[True]: listener(event, first))
    for _ in range(width):
        began.acquire()
    times.append(time.perf_counter() - start)
    for _ in range(width):
        ended.acquire()
    return times[0], time.perf_counter() - start - times[0]


def main() -> None:
    """Answer every line of standard input, `WIDTH NEW`, with the figures as JSON."""
    more = {"quantize": sys.argv[3]} if len(sys.argv) > 3 else {}
    model = checkpoint.load(Path(sys.argv[1]), dtype=torch.float32)
    # Without drafts: a random checkpoint says the same again and again, which no chat does.
    engine = Engine(model.decoder, slots=int(sys.argv[2]), drafts=False, **more)
    for number, line in enumerate(sys.stdin):
        width, new = map(int, line.split())
        # A scope of its own: nothing is shared with an earlier round.
        first, _ = generate(engine, f"{number} first", width, 1)
        both = sum(generate(engine, f"{number} whole", width, new + 1))
        print(json.dumps({"prefill": width * PROMPT / first, "decode": width * new / (both - first)}), flush=True)
    engine.close()


main()
