"""Memory over time under mixed load: requests of many scopes and lengths, a third of them cancelled.

    python benchmarks/soak.py --minutes 4
    python benchmarks/soak.py --model FOLDER --kv-cache-gb 0.5

Prints the resident memory of the process and the size of the caches every five seconds. Memory should grow until the
caches are full (`docs/serving.md` lists them) and then stay constant.
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
    """Resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 1e6


def random_request(rng: random.Random, vocab_size: int, context_length: int) -> GenerationRequest:
    """A request with random prompt length, sampling parameters and scope."""
    length = min(rng.choice([5, 40, 200, context_length // 2]), context_length - 40)
    prompt = tuple(rng.randrange(5, vocab_size) for _ in range(length))
    params = GenerationParams(temperature=rng.choice([0.0, 1.0]), logprobs=rng.random() < 0.2)
    return GenerationRequest(prompt, params, rng.randrange(1, 40), frozenset(), scope=str(rng.randrange(5000)))


def main() -> None:
    """Send requests and print the memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model folder; default: tiny")
    parser.add_argument("--minutes", type=float, default=4, help="duration (default: 4)")
    parser.add_argument("--kv-cache-gb", type=float, help="size of the KV cache, as for `turnwise serve`")
    args = parser.parse_args()
    decoder = checkpoint.load(args.model or resolve_model_folder("tiny"), dtype=torch.float32).decoder
    vocab_size, context_length = decoder.config.vocab_size, decoder.config.context_length
    kv_cache_bytes = None if args.kv_cache_gb is None else int(args.kv_cache_gb * 1e9)
    engine = Engine(decoder, max_num_seqs=16, kv_cache_memory_bytes=kv_cache_bytes)
    context_length = min(context_length, engine.context_length)
    del decoder
    rng, slots = random.Random(0), threading.Semaphore(24)

    def on_event(event: GenerationEvent) -> None:
        if event.finish_reason:
            slots.release()

    start, last_print, num_requests = time.monotonic(), 0.0, 0
    while time.monotonic() - start < 60 * args.minutes:
        slots.acquire()
        handle = engine.submit(random_request(rng, vocab_size, context_length), on_event)
        num_requests += 1
        if rng.random() < 1 / 3:
            handle.cancel()
        if time.monotonic() - last_print > 5:
            last_print = time.monotonic()
            scheduler = engine._scheduler
            kv_cache, proposer = scheduler.queues.kv_cache, scheduler._speculation.decoder._proposer
            print(
                f"{last_print - start:5.0f} s, {num_requests:6} requests: {resident_megabytes():7.0f} MB resident, "
                f"{len(kv_cache.tree)} of {kv_cache.pool.num_blocks} blocks cached, "
                f"{proposer._num_tokens} tokens for drafts",
                flush=True,
            )
    engine.close()


if __name__ == "__main__":
    main()
