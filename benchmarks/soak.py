"""Memory over time under mixed load: requests of many scopes, lengths and grammars, a third of them cancelled.

    python benchmarks/soak.py --minutes 4
    python benchmarks/soak.py --model FOLDER --kv-cache-gb 0.5

Prints the process's resident memory every few seconds beside what the caches say they hold. It should rise while the
caches fill (`docs/serving.md` lists them) and then stay level.
"""

import argparse
import random
import threading
import time
from pathlib import Path

import torch

from turnwise.app.model_names import resolve_model_folder
from turnwise.core.inference import GenerationEvent, GenerationRequest
from turnwise.core.parameters import GenerationParams
from turnwise.engine.engine import Engine
from turnwise.models import checkpoint


def resident_megabytes() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 1e6


def request(rng: random.Random, vocab: int, context: int) -> GenerationRequest:
    """One request, of any kind."""
    length = min(rng.choice([5, 40, 200, context // 2]), context - 40)
    prompt = tuple(rng.randrange(5, vocab) for _ in range(length))
    params = GenerationParams(temperature=rng.choice([0.0, 1.0]), logprobs=rng.random() < 0.2)
    return GenerationRequest(prompt, params, rng.randrange(1, 40), frozenset(), scope=str(rng.randrange(5000)))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model folder; default: the bundled model")
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--kv-cache-gb", type=float, help="gigabytes, as of `turnwise serve`")
    given = parser.parse_args()
    decoder = checkpoint.load(given.model or resolve_model_folder(None), dtype=torch.float32).decoder
    vocab, context = decoder.config.vocab_size, decoder.config.context_length
    bytes_given = None if given.kv_cache_gb is None else int(given.kv_cache_gb * 1e9)
    engine = Engine(decoder, max_num_seqs=16, kv_cache_memory_bytes=bytes_given)
    del decoder
    rng, slots = random.Random(0), threading.Semaphore(24)

    def on_event(event: GenerationEvent) -> None:
        if event.finish_reason:
            slots.release()

    began, shown, count = time.monotonic(), 0.0, 0
    while time.monotonic() - began < 60 * given.minutes:
        slots.acquire()
        ticket = engine.submit(request(rng, vocab, min(context, engine.context_length)), on_event)
        count += 1
        if rng.random() < 1 / 3:
            ticket.cancel()
        if time.monotonic() - shown > 5:
            shown = time.monotonic()
            memory, drafts = engine._scheduler.queues.kv_cache, engine._scheduler._speculative_decoder._proposer
            print(
                f"{shown - began:5.0f} s, {count:6} requests: {resident_megabytes():7.0f} MB resident, "
                f"{len(memory.tree)} of {memory.pool.num_blocks} blocks cached, {drafts._num_tokens} tokens for drafts",
                flush=True,
            )
    engine.close()


if __name__ == "__main__":
    main()
