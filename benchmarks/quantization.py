"""Quantized weights compared with float weights: memory, perplexity, agreement and speed.

    python benchmarks/quantization.py DIALOGUES [DIALOGUES ...]      the default model on files of held-out dialogues
    python benchmarks/quantization.py DIALOGUES --model FOLDER --limit 300 --rounds 5 --threads 1

Perplexity is per byte of the assistant's replies. Agreement is the share of positions in the dialogues where the most
likely next token equals that of the float weights. Speed is measured as in `speed.py`, in rotation.
"""

import argparse
import math
import os
import statistics
import sys
from array import array
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch

from speed import TurnwiseSide, measure_generation
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

CHUNK_TOKENS = 512  # tokens per forward pass
KINDS: dict[str, Any] = {"float": None, "int8": "int8", "int4": "int4"}  # `quantize` by name


class RenderedDialogue(NamedTuple):
    """A dialogue as token ids.

    Attributes:
        ids: token ids, at most the context length.
        assistant_mask: which ids the assistant generates.
        num_bytes: size of the replies in UTF-8.
    """

    ids: list[int]
    assistant_mask: list[bool]
    num_bytes: int


def read_dialogues(path: Path, renderer: Renderer, context_length: int, limit: int) -> list[RenderedDialogue]:
    """Render the first `limit` dialogues of a file; those without a reply in the context are left out."""
    dialogues = islice((item for item in DataSource(path) if isinstance(item, Conversation)), limit)
    rendered = []
    for dialogue in dialogues:
        example, num_bytes = beginning(renderer.render(dialogue.messages), dialogue, context_length)
        if num_bytes:
            mask = [False, *example.target_mask.tolist()[:-1]]  # targets are shifted by one
            rendered.append(RenderedDialogue(example.ids.tolist(), mask, num_bytes))
    return rendered


def score(runner: NativeRunner, dialogue: RenderedDialogue) -> tuple[float, torch.Tensor]:
    """Cross-entropy of the replies in nats, and the most likely next token at every position, `(T,)`."""
    ids = dialogue.ids
    blocks = array("i", range(blocks_for(len(ids))))
    chunks = [(start, ids[start : start + CHUNK_TOKENS]) for start in range(0, len(ids), CHUNK_TOKENS)]
    logits_TV = torch.cat([runner.forward([BatchEntry(blocks, start, chunk, len(chunk))]) for start, chunk in chunks])
    nats_T = torch.nn.functional.cross_entropy(logits_TV[:-1], torch.tensor(ids[1:]), reduction="none")
    return float(nats_T[torch.tensor(dialogue.assistant_mask[1:])].sum()), logits_TV.argmax(-1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "dialogues", type=Path, nargs="*", help="files of held-out dialogues; without any, only the speed"
    )
    parser.add_argument("--model", default="tiny", help="a model name or folder; default: tiny")
    parser.add_argument("--limit", type=int, default=200, help="maximum number of dialogues per file (default: 200)")
    parser.add_argument("--widths", type=int, nargs="+", default=[1, 8, 32], help="numbers of sequences")
    parser.add_argument("--rounds", type=int, default=5)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser.add_argument("--threads", type=int, default=cores)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    folder = resolve_model_folder(args.model)
    renderer = Renderer.from_tokenizer(Tokenizer.load(folder))
    decoder = checkpoint.load(folder, dtype=torch.float32).decoder
    runners = {
        name: NativeRunner(decoder, blocks_for(decoder.config.context_length), quantize=kind)
        for name, kind in KINDS.items()
    }
    print(f"{folder.name}, {args.threads} threads, {runners['float'].kind}", flush=True)
    for name, runner in runners.items():
        print(f"{name:<6} {runner.packed.nbytes / 1e6:>8.1f} MB in memory", flush=True)
    for path in args.dialogues:
        nats, num_equal = dict.fromkeys(KINDS, 0.0), dict.fromkeys(KINDS, 0)
        dialogues = read_dialogues(path, renderer, decoder.config.context_length, args.limit)
        for dialogue in dialogues:
            top_ids = {}
            for name, runner in runners.items():
                dialogue_nats, top_ids[name] = score(runner, dialogue)
                nats[name] += dialogue_nats
                num_equal[name] += int((top_ids[name] == top_ids["float"]).sum())
        num_tokens = sum(len(dialogue.ids) for dialogue in dialogues)
        num_bytes = sum(dialogue.num_bytes for dialogue in dialogues)
        for name in KINDS:
            bits = nats[name] / num_bytes / math.log(2)
            print(f"{name:<6} perplexity per byte {2**bits:.4f}, {bits:.4f} bits; "
                  f"agreement {num_equal[name] / num_tokens:.2%}   {path}", flush=True)  # fmt: skip
    sides = [TurnwiseSide(folder, torch.float32, max(args.widths), name, kind) for name, kind in KINDS.items()]
    for width in args.widths:
        speeds = measure_generation(sides, width, decoder.config.vocab_size, args.rounds)
        for phase in ("decode", "prefill"):
            for name in KINDS:
                pairs = zip(speeds[name][phase], speeds["float"][phase], strict=True)
                ratio = statistics.median(quantized / base for quantized, base in pairs)
                print(f"{name:<6} {phase} of {width:>2} sequences: {statistics.median(speeds[name][phase]):>8,.0f} "
                      f"tokens/s, {ratio:.2f} times float", flush=True)  # fmt: skip
    for side in sides:
        side.engine.close()


if __name__ == "__main__":
    sys.exit(main())
