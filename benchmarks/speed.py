"""Decode, prefill and training speed compared with transformers on the same checkpoint.

    python benchmarks/speed.py                          a random checkpoint of 19M parameters
    python benchmarks/speed.py --model FOLDER           any model folder
    python benchmarks/speed.py --widths 1 8 32 --rounds 5 --out report.json

Both sides run in one process with the same number of threads and the same dtype. They are measured in alternation;
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
from collections.abc import Callable, Sequence
from functools import partial
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

PROMPT_TOKENS, ANSWER_TOKENS = 128, 64
DIALOGUES_PER_STEP = 16
SMALL = DecoderConfig(
    family="qwen2", vocab_size=8192, hidden_size=384, intermediate_size=1024, num_layers=10, num_heads=6,
    num_kv_heads=2, head_dim=64, context_length=4096, qkv_bias=True,
)  # fmt: skip


def time_call(function: Callable[[], None]) -> float:
    """Duration of a call in seconds."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def make_prompts(count: int, vocab_size: int) -> list[list[int]]:
    """Different prompts of `PROMPT_TOKENS` tokens."""
    modulus = min(4000, vocab_size - 5)
    return [
        [5 + (position * 7 + number * 13) % modulus for position in range(PROMPT_TOKENS)] for number in range(count)
    ]


class TurnwiseSide:
    """The engine of Turnwise, without speculative decoding."""

    def __init__(
        self,
        folder: Path,
        dtype: torch.dtype,
        max_sequences: int,
        name: str = "turnwise",
        quantize: Quantization | None = None,
    ) -> None:
        self.name = name
        self.decoder = checkpoint.load(folder, dtype=dtype).decoder
        self.engine = Engine(self.decoder, max_num_seqs=max_sequences, quantize=quantize, enable_speculation=False)
        self._num_calls = 0

    def generate(self, prompts: list[list[int]], new_tokens: int) -> None:
        """Generate `new_tokens` greedy tokens for every prompt."""
        finished = threading.Semaphore(0)
        num_tokens = [0] * len(prompts)

        def make_listener(index: int) -> EventListener:
            def on_event(event: GenerationEvent) -> None:
                num_tokens[index] += isinstance(event, TokenEvent)
                if event.finish_reason:
                    finished.release()

            return on_event

        params = GenerationParams(temperature=0)
        self._num_calls += 1
        for index, prompt in enumerate(prompts):
            # A new scope for every call: the prefix cache must not save the prefill, which transformers repeats.
            request = GenerationRequest(tuple(prompt), params, new_tokens, frozenset(), scope=str(self._num_calls))
            self.engine.submit(request, make_listener(index))
        for _ in prompts:
            finished.acquire()
        assert num_tokens == [new_tokens] * len(prompts)


class TransformersSide:
    """`generate` of transformers on a batch of prompts with the same length, so without padding."""

    name = "transformers"

    def __init__(self, folder: Path, dtype: torch.dtype) -> None:
        from transformers import AutoModelForCausalLM

        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()

    @torch.inference_mode()
    def generate(self, prompts: list[list[int]], new_tokens: int) -> None:
        """Generate `new_tokens` greedy tokens for every prompt."""
        ids_BT = torch.tensor(prompts)
        output_BT = self.model.generate(
            ids_BT, attention_mask=torch.ones_like(ids_BT), max_new_tokens=new_tokens, min_new_tokens=new_tokens,
            do_sample=False, eos_token_id=None, pad_token_id=0,
        )  # fmt: skip
        assert output_BT.shape[1] == PROMPT_TOKENS + new_tokens


def measure_generation(
    sides: Sequence[TurnwiseSide | TransformersSide], num_sequences: int, vocab_size: int, rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Tokens per second by side, phase ("prefill", "decode") and round."""
    speeds: dict[str, dict[str, list[float]]] = {side.name: {"prefill": [], "decode": []} for side in sides}
    prompts = make_prompts(num_sequences, vocab_size)
    for side in sides:
        side.generate(prompts, 4)  # warms up
    for _ in range(rounds):
        for side in sides:
            prefill = time_call(lambda side=side: side.generate(prompts, 1))
            total = time_call(lambda side=side: side.generate(prompts, ANSWER_TOKENS + 1))
            speeds[side.name]["prefill"].append(num_sequences * PROMPT_TOKENS / prefill)
            speeds[side.name]["decode"].append(num_sequences * ANSWER_TOKENS / (total - prefill))
    return speeds


def random_dialogues(vocab_size: int, count: int) -> list[list[int]]:
    """Random token ids with the lengths of short chats, 16 to 480 tokens."""
    generator = torch.Generator().manual_seed(3)
    lengths = (torch.randn(count, generator=generator).mul(0.6).add(4.4).exp()).clamp(16, 480).int().tolist()
    return [torch.randint(5, vocab_size, (length,), generator=generator).tolist() for length in lengths]


def measure_training(folder: Path, vocab_size: int, rounds: int) -> dict[str, list[float]]:
    """Training tokens per second without padding, by side and round; Turnwise packs rows, transformers pads batches."""
    from transformers import AutoModelForCausalLM

    from turnwise.training.examples.packing import pack_sequences

    dialogues = random_dialogues(vocab_size, DIALOGUES_PER_STEP * (rounds + 1))
    model = checkpoint.load(folder, dtype=torch.float32)
    ours = model.decoder.train()
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    our_optimizers = build_optimizers(ours, name="adamw", learning_rate=1e-4, weight_decay=0.1)
    their_optimizer = torch.optim.AdamW(theirs.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1)

    def our_step(sequences: list[list[int]]) -> None:
        rows = pack_sequences([len(ids) for ids in sequences], 512, seed=0)
        examples = [Example.causal(ids, [True] * len(ids)) for ids in sequences]
        batch = collate([[examples[i] for i in row] for row in rows], pad_id=0)
        (cross_entropy_sum(model, batch) / batch.target_weight).backward()
        torch.nn.utils.clip_grad_norm_(ours.parameters(), 1.0)
        for optimizer in our_optimizers:
            optimizer.step()
            optimizer.zero_grad()

    def their_step(sequences: list[list[int]]) -> None:
        length = max(map(len, sequences))
        ids_BT = torch.tensor([ids + [0] * (length - len(ids)) for ids in sequences])
        mask_BT = torch.tensor([[1] * len(ids) + [0] * (length - len(ids)) for ids in sequences])
        labels_BT = ids_BT.masked_fill(mask_BT == 0, -100)
        theirs(input_ids=ids_BT, attention_mask=mask_BT, labels=labels_BT).loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        their_optimizer.step()
        their_optimizer.zero_grad()

    speeds: dict[str, list[float]] = {"turnwise": [], "transformers": []}
    for number in range(rounds + 1):
        sequences = dialogues[DIALOGUES_PER_STEP * number : DIALOGUES_PER_STEP * (number + 1)]
        num_tokens = sum(map(len, sequences))
        our_seconds, their_seconds = time_call(partial(our_step, sequences)), time_call(partial(their_step, sequences))
        if number:  # the first round warms up
            speeds["turnwise"].append(num_tokens / our_seconds)
            speeds["transformers"].append(num_tokens / their_seconds)
    return speeds


def print_row(label: str, ours: list[float], theirs: list[float]) -> dict[str, float | str]:
    """Print medians and the median ratio; return them for the report."""
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    speed, peer_speed = statistics.median(ours), statistics.median(theirs)
    print(f"{label:<24} turnwise {speed:>9,.0f}   transformers {peer_speed:>9,.0f}   ratio {ratio:>6.2f}×", flush=True)
    return {"what": label, "turnwise": speed, "transformers": peer_speed, "ratio": ratio}


def main() -> None:
    """Measure and print the speeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model folder; default: a random checkpoint of 19M parameters")
    parser.add_argument("--widths", type=int, nargs="+", default=[1, 8, 32], help="numbers of sequences")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="float32")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser.add_argument("--threads", type=int, default=cores)
    parser.add_argument("--out", type=Path, help="write the results as JSON")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    torch.set_num_threads(args.threads)
    dtype = DTYPES[args.dtype]
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.model or Path(temporary) / "small"
        if args.model is None:
            checkpoint.save(checkpoint.create(SMALL, seed=0), folder)
        vocab_size = checkpoint.read_hf_config(folder)["vocab_size"]
        import transformers

        print(f"{platform.machine()}, {args.threads} threads, torch {torch.__version__}, {args.dtype}")
        print(f"transformers {transformers.__version__}, {args.model or 'random checkpoint of 19M parameters'}")
        print(f"tokens/s, median of {args.rounds} rounds; prompt {PROMPT_TOKENS}, {ANSWER_TOKENS} new tokens, greedy")
        rows = []
        turnwise = TurnwiseSide(folder, dtype, max(args.widths))
        sides = [turnwise, TransformersSide(folder, dtype)]
        for width in args.widths:
            speeds = measure_generation(sides, width, vocab_size, args.rounds)
            rows += [
                print_row(f"{phase}, {width} sequences", speeds["turnwise"][phase], speeds["transformers"][phase])
                for phase in ("prefill", "decode")
            ]
        turnwise.engine.close()
        speeds_in_training = measure_training(folder, vocab_size, args.rounds)
        rows.append(print_row("training", speeds_in_training["turnwise"], speeds_in_training["transformers"]))
    if args.out:
        args.out.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
