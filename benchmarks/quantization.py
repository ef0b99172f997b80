"""What weights of fewer bits cost and gain: size, perplexity, agreement with float weights, speed.

    python benchmarks/quantization.py DIALOGUES [DIALOGUES ...]      the model in the box on files of held-out dialogues
    python benchmarks/quantization.py DIALOGUES --model FOLDER --limit 300 --rounds 5 --threads 1

Perplexity is that of the assistant's turns, per byte; agreement is how often the likeliest token after each of the
dialogues' tokens is the one of the float weights. Speed is that of decoding (`speed.py`), the sides taking turns.
"""

import argparse
import math
import os
import statistics
import sys
from array import array
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from speed import Ours, decode_rounds
from torch_reference.perplexity import beginning
from turnwise.app.model_names import resolve_model_folder
from turnwise.core.messages import Conversation
from turnwise.data.sources import DataSource
from turnwise.engine.batch import BatchEntry
from turnwise.engine.kv_cache.block_pool import blocks_for
from turnwise.engine.native.native_runner import NativeRunner
from turnwise.models import checkpoint
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer

PART = 512  # tokens read at once
KINDS: dict[str, Any] = {"float": None, "int8": "int8", "int4": "int4"}


def talks(path: Path, renderer: Renderer, context: int, limit: int) -> list[tuple[list[int], list[bool], int]]:
    """Ids, which of them are the assistant's, and the bytes these say."""
    dialogues = islice((item for item in DataSource(path) if isinstance(item, Conversation)), limit)
    found = []
    for dialogue in dialogues:
        example, said = beginning(renderer.render(dialogue.messages), dialogue, context)
        if said:
            found.append((example.ids.tolist(), [False, *example.target_mask.tolist()[:-1]], said))
    return found


def read(runner: NativeRunner, ids: list[int], mask: list[bool]) -> tuple[float, torch.Tensor]:
    """The assistant's cross-entropy in nats, and the likeliest token after each."""
    blocks = array("i", range(blocks_for(len(ids))))
    parts = [
        runner.forward([BatchEntry(blocks, start, ids[start : start + PART], len(ids[start : start + PART]))])
        for start in range(0, len(ids), PART)
    ]
    logits_TV = torch.cat(parts)
    surprise = torch.nn.functional.cross_entropy(logits_TV[:-1], torch.tensor(ids[1:]), reduction="none")
    return float(surprise[torch.tensor(mask[1:])].sum()), logits_TV.argmax(-1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dialogues", type=Path, nargs="*", help="files of held-out dialogues; none: speed only")
    parser.add_argument("--model", help="a model folder; left out: the model in the box")
    parser.add_argument("--limit", type=int, default=200, help="most dialogues of each file")
    parser.add_argument("--widths", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=5)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser.add_argument("--threads", type=int, default=cores)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    folder = resolve_model_folder(given.model)
    renderer = Renderer.from_tokenizer(Tokenizer.load(folder))
    decoder = checkpoint.load(folder, dtype=torch.float32).decoder
    runners = {
        name: NativeRunner(decoder, blocks_for(decoder.config.context_length), quantize=kind)
        for name, kind in KINDS.items()
    }
    print(f"{folder.name}, {given.threads} threads, {runners['float'].kind}", flush=True)
    for name, runner in runners.items():
        print(f"{name:<6} {runner.packed.nbytes / 1e6:>8.1f} MB in memory", flush=True)
    for path in given.dialogues:
        nats, agreed, tokens, size = dict.fromkeys(KINDS, 0.0), dict.fromkeys(KINDS, 0), 0, 0
        for ids, mask, said in talks(path, renderer, decoder.config.context_length, given.limit):
            likeliest = {}
            for name, runner in runners.items():
                surprise, likeliest[name] = read(runner, ids, mask)
                nats[name] += surprise
                agreed[name] += int((likeliest[name] == likeliest["float"]).sum())
            tokens, size = tokens + len(ids), size + said
        for name in KINDS:
            bits = nats[name] / size / math.log(2)
            print(f"{name:<6} perplexity per byte {2**bits:.4f}, {bits:.4f} bits; "
                  f"agreement {agreed[name] / tokens:.2%}   {path}", flush=True)  # fmt: skip
    sides = [Ours(folder, torch.float32, max(given.widths), name, kind) for name, kind in KINDS.items()]
    for width in given.widths:
        found = decode_rounds(sides, width, decoder.config.vocab_size, given.rounds)
        for what in ("decode", "prefill"):
            ratios = [
                [mine / other for mine, other in zip(found[name][what], found["float"][what], strict=True)]
                for name in KINDS
            ]
            for name, ratio in zip(KINDS, ratios, strict=True):
                print(f"{name:<6} {what} of {width:>2} chats: {statistics.median(found[name][what]):>8,.0f} tokens/s, "
                      f"{statistics.median(ratio):.2f} times float's", flush=True)  # fmt: skip
    for side in sides:
        side.engine.close()


if __name__ == "__main__":
    sys.exit(main())
