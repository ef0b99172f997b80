"""Decode time with several LoRA adapters of one base model: unmerged, or each merged into its own copy of the base.

    python benchmarks/adapters.py                  a random checkpoint of 19M parameters
    python benchmarks/adapters.py --model FOLDER --adapters 8 --rank 16

Adapters are assigned to sequences in rotation. A measurement decodes one token of every sequence with the engine's
runner: in one forward pass with unmerged adapters, in one pass per adapter with merged ones. Adapters are random
because the time depends on the number of weights, not on their values. Figures are medians over rounds.
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

CONTEXT = 128  # cached tokens of every sequence


def random_adapter(decoder: Decoder, rank: int, seed: int) -> dict[str, LoraFactors]:
    """LoRA factors of all linear layers; as after training, q, k and v share one `down_RI`, and so do gate and up."""
    generator = torch.Generator().manual_seed(seed)
    factors = {}
    for number in range(decoder.config.num_layers):
        for target in LORA_TARGETS:
            name = f"layers.{number}.{target}"
            outputs, inputs = decoder.get_parameter(f"{name}.weight").shape
            down_RI = torch.randn(rank, inputs, generator=generator) / inputs**0.5
            factors[name] = LoraFactors(down_RI, 0.01 * torch.randn(outputs, rank, generator=generator))
    return factors


def merge_adapter(decoder: Decoder, adapter: dict[str, LoraFactors]) -> Decoder:
    """A copy of the decoder with the adapter merged, in float32 as `models.adapters` merges."""
    merged = checkpoint.create(decoder.config).decoder
    merged.load_state_dict({name: tensor.float() for name, tensor in decoder.state_dict().items()})
    with torch.no_grad():
        for name, factors in adapter.items():
            merged.get_parameter(f"{name}.weight").add_(factors.up_OR @ factors.down_RI)
    return merged.eval()


def decode_batch(num_sequences: int, num_adapters: int, *, use_adapters: bool) -> list[BatchEntry]:
    """The next token of every sequence, each with its own KV blocks; with or without the name of its adapter."""
    blocks = blocks_for(CONTEXT + 1)
    return [
        BatchEntry(
            array("i", range(index * blocks, (index + 1) * blocks)), CONTEXT, [5 + index], 1,
            adapter=str(index % num_adapters) if use_adapters else "",
        )
        for index in range(num_sequences)
    ]  # fmt: skip


def median_seconds(function: Callable[[], object], rounds: int) -> float:
    """Median time of a call, after two calls that warm up."""
    seconds = []
    for _ in range(rounds + 2):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[2:])


def forward_separately(runners: Sequence[ModelRunner], batch: Sequence[BatchEntry]) -> None:
    """One forward pass of each merged model over its own sequences."""
    for number, runner in enumerate(runners[: len(batch)]):
        runner.forward(batch[number :: len(runners)])


def weight_bytes(runner: ModelRunner) -> int:
    """Bytes of the weights, including adapters."""
    assert isinstance(runner, NativeRunner), "the compiled library is needed"
    return runner.packed.nbytes + sum(adapter.nbytes for adapter in runner._adapters.values())


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model folder; default: a random checkpoint of 19M parameters")
    parser.add_argument("--adapters", type=int, default=8)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--quantize", choices=["int8", "int4"])
    args = parser.parse_args()
    if args.model is None:
        # Values that bfloat16 represents exactly, as published weights have; the runner stores them in two bytes.
        decoder = checkpoint.create(SMALL).decoder.bfloat16().float().eval()
    else:
        decoder = checkpoint.load(args.model, dtype=torch.float32).decoder
    batch_sizes = [1, 8, 32]
    num_blocks = max(batch_sizes) * blocks_for(CONTEXT + 1)
    base_runner = make_runner(decoder, num_blocks, args.quantize)
    unmerged_runner = make_runner(decoder, num_blocks, args.quantize)
    adapters = [random_adapter(decoder, args.rank, seed) for seed in range(args.adapters)]
    for number, adapter in enumerate(adapters):
        unmerged_runner.load_lora(str(number), adapter)
    merged_runners = [make_runner(merge_adapter(decoder, adapter), num_blocks, args.quantize) for adapter in adapters]
    parameters = sum(parameter.numel() for parameter in decoder.parameters())
    print(f"{parameters / 1e6:.0f}M parameters, {args.adapters} adapters of rank {args.rank}, "
          f"{args.quantize or 'not quantized'}")  # fmt: skip
    print(f"weights in memory: base {weight_bytes(base_runner) / 1e6:.0f} MB, "
          f"base and adapters {weight_bytes(unmerged_runner) / 1e6:.0f} MB, "
          f"merged {sum(map(weight_bytes, merged_runners)) / 1e6:.0f} MB")  # fmt: skip
    print("\n| sequences | base alone | unmerged | merged | unmerged / base | merged / unmerged |")
    print("| --- | --- | --- | --- | --- | --- |")
    for size in batch_sizes:
        base_batch = decode_batch(size, args.adapters, use_adapters=False)
        adapter_batch = decode_batch(size, args.adapters, use_adapters=True)
        base_time = median_seconds(partial(base_runner.forward, base_batch), args.rounds)
        unmerged_time = median_seconds(partial(unmerged_runner.forward, adapter_batch), args.rounds)
        merged_time = median_seconds(partial(forward_separately, merged_runners, base_batch), args.rounds)
        print(f"| {size} | {1e3 * base_time:.2f} ms | {1e3 * unmerged_time:.2f} ms | {1e3 * merged_time:.2f} ms "
              f"| {unmerged_time / base_time:.2f} | {merged_time / unmerged_time:.2f} |")  # fmt: skip


main()
