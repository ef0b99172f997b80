"""What several adapters over one base cost: beside its weights, or each merged into a copy of its own.

    python benchmarks/adapters.py                  a random checkpoint of 19M parameters
    python benchmarks/adapters.py --model FOLDER --adapters 8 --rank 16

Each chat belongs to an adapter, chats taking turns. Both sides read one token of every chat per pass, through the
engine's runner; merged adapters need a pass each. Weights are random: what takes time is how many there are. Medians.
"""

import argparse
import statistics
import time
from array import array
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from cost import SMALL
from turnwise.engine.batch import BatchEntry
from turnwise.engine.kv_cache.block_pool import blocks_for
from turnwise.engine.native.native_runner import NativeRunner
from turnwise.engine.native.packed_adapter import LORA_TARGETS
from turnwise.engine.runners.model_runner import ModelRunner, make_runner
from turnwise.models import checkpoint
from turnwise.models.decoder import Decoder
from turnwise.models.lora_factors import LoraFactors

CONTEXT = 128  # tokens in the cache of every chat


def random_adapter(decoder: Decoder, rank: int, seed: int) -> dict[str, LoraFactors]:
    """Thin matrices beside all of the layers' matrices; those that are joined share D, as after our own training."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for number in range(decoder.config.num_layers):
        for place in LORA_TARGETS:
            name = f"layers.{number}.{place}"
            outputs, inputs = decoder.get_parameter(f"{name}.weight").shape
            down = torch.randn(rank, inputs, generator=generator) / inputs**0.5
            found[name] = LoraFactors(down, 0.01 * torch.randn(outputs, rank, generator=generator))
    return found


def merged(decoder: Decoder, thin: dict[str, LoraFactors]) -> Decoder:
    """A copy with the changes in it, float32 as `models.adapters` merges."""
    copied = checkpoint.create(decoder.config).decoder
    copied.load_state_dict({name: tensor.float() for name, tensor in decoder.state_dict().items()})
    with torch.no_grad():
        for name, change in thin.items():
            copied.get_parameter(f"{name}.weight").add_(change.up_OR @ change.down_RI)
    return copied.eval()


def spans(width: int, adapters: int, *, named: bool) -> list[BatchEntry]:
    """The next token of so many chats; `named` by their adapter, or in caches of their own."""
    most = blocks_for(CONTEXT + 1)
    return [
        BatchEntry(
            array("i", range(chat * most, (chat + 1) * most)), CONTEXT, [5 + chat], 1,
            adapter=str(chat % adapters) if named else "",
        )
        for chat in range(width)
    ]  # fmt: skip


def clock(work: Callable[[], object], rounds: int) -> float:
    """Median seconds."""
    took = []
    for _ in range(rounds + 2):
        start = time.perf_counter()
        work()
        took.append(time.perf_counter() - start)
    return statistics.median(took[2:])


def apart(runners: Sequence[ModelRunner], chats: Sequence[BatchEntry]) -> None:
    """One pass of each runner, over the chats that are its."""
    for number, runner in enumerate(runners[: len(chats)]):
        runner.forward(chats[number :: len(runners)])


def weights(runner: ModelRunner) -> int:
    """Bytes of weights, those of adapters included."""
    assert isinstance(runner, NativeRunner), "there is no compiled library"
    return runner.packed.nbytes + sum(adapter.nbytes for adapter in runner._adapters.values())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model folder")
    parser.add_argument("--adapters", type=int, default=8)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--quantize", choices=["int8", "int4"])
    said = parser.parse_args()
    if said.model is None:
        decoder = checkpoint.create(SMALL).decoder.bfloat16().float().eval()  # as published: exact in bfloat16
    else:
        decoder = checkpoint.load(said.model, dtype=torch.float32).decoder
    widths, most = [1, 8, 32], blocks_for(CONTEXT + 1)
    count, blocks = said.adapters, max(widths) * most
    base = make_runner(decoder, blocks, said.quantize)
    shared = make_runner(decoder, blocks, said.quantize)
    thins = [random_adapter(decoder, said.rank, seed) for seed in range(count)]
    for number, thin in enumerate(thins):
        shared.load_lora(str(number), thin)
    own = [make_runner(merged(decoder, thin), blocks, said.quantize) for thin in thins]
    parameters = sum(parameter.numel() for parameter in decoder.parameters())
    print(f"{parameters / 1e6:.0f}M parameters, {count} adapters of rank {said.rank}, {said.quantize or 'not rounded'}")
    print(f"weights in memory: base {weights(base) / 1e6:.0f} MB, base and adapters {weights(shared) / 1e6:.0f} MB, "
          f"merged {sum(map(weights, own)) / 1e6:.0f} MB")  # fmt: skip
    print("\n| chats | base alone | beside it | merged | beside / base | merged / beside |")
    print("| --- | --- | --- | --- | --- | --- |")
    for width in widths:
        plain, named = spans(width, count, named=False), spans(width, count, named=True)
        of_base = clock(partial(base.forward, plain), said.rounds)
        of_shared = clock(partial(shared.forward, named), said.rounds)
        of_own = clock(partial(apart, own, plain), said.rounds)
        print(f"| {width} | {1e3 * of_base:.2f} ms | {1e3 * of_shared:.2f} ms | {1e3 * of_own:.2f} ms "
              f"| {of_shared / of_base:.2f} | {of_own / of_shared:.2f} |")  # fmt: skip


main()
