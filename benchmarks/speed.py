"""Decoding, prefill and training speed beside transformers on the same checkpoint, as ratios from one run.

    python benchmarks/speed.py                          a random checkpoint of 19M parameters
    python benchmarks/speed.py --model FOLDER           any model folder
    python benchmarks/speed.py --widths 1 8 32 --rounds 5 --out report.json

The two sides take turns, round by round, in one process with the same threads and the same type of weights; the
ratios are medians over rounds. Run it on a quiet machine.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from turnwise.core.inference import EventListener, GenerationEvent, GenerationRequest, Quantization, TokenEvent
from turnwise.core.parameters import GenerationParams
from turnwise.engine.engine import Engine
from turnwise.models import checkpoint
from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.dtypes import DTYPES
from turnwise.training.examples.batches import collate
from turnwise.training.examples.example import Example
from turnwise.training.log_probs import cross_entropy_sum
from turnwise.training.optim.optimizers import build_optimizers

PROMPT, NEW = 128, 64
SMALL = DecoderConfig(
    family="qwen2", vocab_size=8192, hidden_size=384, intermediate_size=1024, num_layers=10, num_heads=6,
    num_kv_heads=2, head_dim=64, context_length=4096, qkv_bias=True,
)  # fmt: skip


def seconds(work: Callable[[], None]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def prompts(width: int, vocab: int) -> list[list[int]]:
    """Different prompts of one length."""
    return [[5 + (i * 7 + s * 13) % min(4000, vocab - 5) for i in range(PROMPT)] for s in range(width)]


class Ours:
    """Turnwise's engine."""

    def __init__(
        self,
        folder: Path,
        dtype: torch.dtype,
        widest: int,
        name: str = "turnwise",
        quantize: Quantization | None = None,
    ) -> None:
        self.name = name
        self.decoder = checkpoint.load(folder, dtype=dtype).decoder
        self.engine = Engine(self.decoder, max_num_seqs=widest, quantize=quantize, enable_speculation=False)
        self.calls = 0

    def generate(self, ids: list[list[int]], new: int) -> None:
        """`new` greedy tokens for every prompt."""
        done = threading.Semaphore(0)
        counts = [0] * len(ids)

        def listener(row: int) -> EventListener:
            def on_event(event: GenerationEvent) -> None:
                counts[row] += isinstance(event, TokenEvent)
                if event.finish_reason:
                    done.release()

            return on_event

        params = GenerationParams(temperature=0)
        self.calls += 1
        for row, prompt in enumerate(ids):
            # A scope of its own: what an earlier call has read is read again, as the other side does.
            asked = GenerationRequest(tuple(prompt), params, new, frozenset(), scope=str(self.calls))
            self.engine.submit(asked, listener(row))
        for _ in ids:
            done.acquire()
        assert counts == [new] * len(ids)


class Transformers:
    """transformers' generate on a batch of equal prompts, its best case."""

    name = "transformers"

    def __init__(self, folder: Path, dtype: torch.dtype) -> None:
        from transformers import AutoModelForCausalLM

        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()

    @torch.inference_mode()
    def generate(self, ids: list[list[int]], new: int) -> None:
        """`new` greedy tokens for every prompt."""
        ids_BT = torch.tensor(ids)
        out = self.model.generate(
            ids_BT, attention_mask=torch.ones_like(ids_BT), max_new_tokens=new, min_new_tokens=new, do_sample=False,
            eos_token_id=None, pad_token_id=0,
        )  # fmt: skip
        assert out.shape[1] == PROMPT + new


def decode_rounds(sides: list, width: int, vocab: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Tokens a second of prefill and decode for each side, round by round."""
    found: dict[str, dict[str, list[float]]] = {side.name: {"prefill": [], "decode": []} for side in sides}
    ids = prompts(width, vocab)
    for side in sides:
        side.generate(ids, 4)
    for _ in range(rounds):
        for side in sides:
            first = seconds(lambda side=side: side.generate(ids, 1))
            whole = seconds(lambda side=side: side.generate(ids, NEW + 1))
            found[side.name]["prefill"].append(width * PROMPT / first)
            found[side.name]["decode"].append(width * NEW / (whole - first))
    return found


def dialogues(vocab: int, count: int) -> list[list[int]]:
    """Sequences with the lengths of short chats (seeded)."""
    generator = torch.Generator().manual_seed(3)
    lengths = (torch.randn(count, generator=generator).mul(0.6).add(4.4).exp()).clamp(16, 480).int().tolist()
    return [torch.randint(5, vocab, (n,), generator=generator).tolist() for n in lengths]


def train_rounds(folder: Path, vocab: int, rounds: int) -> dict[str, list[float]]:
    """Useful (non-padding) training tokens a second: our packed rows, and transformers with padded batches."""
    from transformers import AutoModelForCausalLM

    from turnwise.training.examples.packing import pack_sequences

    talks = dialogues(vocab, 16 * (rounds + 1))
    model = checkpoint.load(folder, dtype=torch.float32)
    ours = model.decoder.train()
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    our_optimizers = build_optimizers(ours, name="adamw", learning_rate=1e-4, weight_decay=0.1)
    their_optimizer = torch.optim.AdamW(theirs.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1)

    def our_step(part: list[list[int]]) -> None:
        rows = pack_sequences([len(talk) for talk in part], 512, seed=0)
        examples = [Example.causal(talk, [True] * len(talk)) for talk in part]
        batch = collate([[examples[i] for i in row] for row in rows], pad_id=0)
        (cross_entropy_sum(model, batch) / batch.target_weight).backward()
        torch.nn.utils.clip_grad_norm_(ours.parameters(), 1.0)
        for optimizer in our_optimizers:
            optimizer.step()
            optimizer.zero_grad()

    def their_step(part: list[list[int]]) -> None:
        longest = max(len(talk) for talk in part)
        ids_BT = torch.tensor([talk + [0] * (longest - len(talk)) for talk in part])
        real_BT = torch.tensor([[1] * len(talk) + [0] * (longest - len(talk)) for talk in part])
        labels_BT = ids_BT.masked_fill(real_BT == 0, -100)
        theirs(input_ids=ids_BT, attention_mask=real_BT, labels=labels_BT).loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        their_optimizer.step()
        their_optimizer.zero_grad()

    found: dict[str, list[float]] = {"turnwise": [], "transformers": []}
    for number in range(rounds + 1):
        part = talks[16 * number : 16 * (number + 1)]
        tokens = sum(len(talk) for talk in part)
        ours_took, theirs_took = seconds(lambda part=part: our_step(part)), seconds(lambda part=part: their_step(part))
        if number:  # the first one warms up
            found["turnwise"].append(tokens / ours_took)
            found["transformers"].append(tokens / theirs_took)
    return found


def row(label: str, ours: list[float], theirs: list[float]) -> dict[str, float | str]:
    """A line of the table, printed and kept."""
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    mine, other = statistics.median(ours), statistics.median(theirs)
    print(f"{label:<22} turnwise {mine:>9,.0f}   transformers {other:>9,.0f}   ratio {ratio:>6.2f}×", flush=True)
    return {"what": label, "turnwise": mine, "transformers": other, "ratio": ratio}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model folder; left out: a random checkpoint of 19M parameters")
    parser.add_argument("--widths", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="float32")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser.add_argument("--threads", type=int, default=cores)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    torch.set_num_threads(given.threads)
    dtype = DTYPES[given.dtype]
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.model or Path(temporary) / "small"
        if given.model is None:
            checkpoint.save(checkpoint.create(SMALL, seed=0), folder)
        vocab = checkpoint.read_hf_config(folder)["vocab_size"]
        import transformers

        print(f"{platform.machine()}, {given.threads} threads, torch {torch.__version__}, {given.dtype}")
        print(f"transformers {transformers.__version__}, {given.model or 'random checkpoint of 19M parameters'}")
        print(f"tokens/s, median of {given.rounds} rounds; prompt {PROMPT}, {NEW} new tokens, greedy")
        rows = []
        sides = [Ours(folder, dtype, max(given.widths)), Transformers(folder, dtype)]
        for width in given.widths:
            found = decode_rounds(sides, width, vocab, given.rounds)
            rows += [
                row(f"{what}, {width} chats", found["turnwise"][what], found["transformers"][what])
                for what in ("prefill", "decode")
            ]
        sides[0].engine.close()
        trained = train_rounds(folder, vocab, given.rounds)
        rows.append(row("training, useful tokens", trained["turnwise"], trained["transformers"]))
    if given.out:
        given.out.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
