"""The engine of Turnwise as a side of peers.py: turnwise_side.py MODEL MAX_SEQUENCES [int8|int4]"""

import json
import sys
import threading
import time

import torch

from turnwise.core.inference import EventListener, GenerationEvent, GenerationRequest
from turnwise.core.parameters import GenerationParams
from turnwise.engine.engine import Engine
from turnwise.models.checkpoint import Checkpoint
from turnwise.models.model_folders import find_model_folder

PROMPT_TOKENS = 128
GREEDY = GenerationParams(temperature=0)


def generate(engine: Engine, scope: str, num_sequences: int, max_tokens: int) -> tuple[float, list[list[float]]]:
    """Start time, and the times of all events by sequence."""
    finished = threading.Semaphore(0)
    event_times: list[list[float]] = [[] for _ in range(num_sequences)]

    def make_listener(index: int) -> EventListener:
        def on_event(event: GenerationEvent) -> None:
            event_times[index].append(time.perf_counter())
            if event.finish_reason:
                finished.release()

        return on_event

    start = time.perf_counter()
    for index in range(num_sequences):
        prompt = tuple(5 + (position * 7 + index * 13) % 4000 for position in range(PROMPT_TOKENS))
        request = GenerationRequest(prompt, GREEDY, max_tokens, frozenset(), scope=scope)
        engine.submit(request, make_listener(index))
    for _ in range(num_sequences):
        finished.acquire()
    return start, event_times


def prefill_speed(engine: Engine, scope: str, num_sequences: int) -> float:
    """Prompt tokens per second until all sequences have their first token."""
    start, event_times = generate(engine, scope, num_sequences, 1)
    return num_sequences * PROMPT_TOKENS / (max(times[0] for times in event_times) - start)


def decode_speed(engine: Engine, scope: str, num_sequences: int, max_tokens: int) -> float:
    """Tokens per second of the batch while all sequences decode: from the last first token to the first last token."""
    _, event_times = generate(engine, scope, num_sequences, max_tokens)
    start, end = max(times[0] for times in event_times), min(times[-1] for times in event_times)
    num_tokens = sum(start < event_time <= end for times in event_times for event_time in times)
    return num_tokens / (end - start)


def main() -> None:
    """For every line of standard input, `WIDTH NEW`, print the speeds as JSON."""
    quantize = sys.argv[3] if len(sys.argv) > 3 else None
    weights = Checkpoint(find_model_folder(sys.argv[1]), dtype=torch.float32)
    # No speculative decoding: a random checkpoint repeats itself, so drafts would be accepted more often than in chats.
    engine = Engine(weights, max_num_seqs=int(sys.argv[2]), enable_speculation=False, quantize=quantize)
    for number, line in enumerate(sys.stdin):
        num_sequences, new_tokens = map(int, line.split())
        # A new scope for every call, so that no prefix is shared with an earlier one. Prefill and decode overlap: the
        # first sequence decodes while later prompts are computed. Answers are longer by about the duration of that
        # phase, so that all sequences decode together for about `new_tokens` tokens.
        speeds = {
            "prefill": prefill_speed(engine, f"{number} prefill", num_sequences),
            "decode": decode_speed(engine, f"{number} decode", num_sequences, new_tokens + 2 * num_sequences),
        }
        print(json.dumps(speeds), flush=True)
    engine.close()


main()
