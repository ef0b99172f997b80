"""Measures training speed and the micro-batch size that fits into memory, without updating weights."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from turnwise.core.errors import UserError
from turnwise.models.language_model import LanguageModel
from turnwise.training.device_memory import (
    REDUCE_MEMORY_HINT,
    available_memory,
    is_out_of_memory,
    peak_memory,
    used_memory,
)
from turnwise.training.distributed.sharding import is_sharded
from turnwise.training.examples.dataset import DatasetSplits
from turnwise.training.gradient_accumulation import accumulate_gradients
from turnwise.training.hooks import TrainerHook
from turnwise.training.recipe import Recipe

MAX_PROBES = 3  # micro-batches to measure
MAX_SECONDS = 20.0  # no further micro-batch starts after this time
BUDGET_SHARE = 0.05  # at most this share of the time budget
MEMORY_FRACTION = 0.9  # of the free memory


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Result of the probe.

    Attributes:
        tokens_per_second: training speed, without padding.
        tokens_per_row: mean tokens per row, without padding.
        micro_batch_size: rows per micro-batch that fit into memory.
        peak_memory: peak memory in bytes.
    """

    tokens_per_second: float
    tokens_per_row: float
    micro_batch_size: int
    peak_memory: int


def probe_throughput(
    recipe: Recipe,
    model: LanguageModel,
    data: DatasetSplits,
    device: torch.device,
    dtype: torch.dtype,
    hooks: Sequence[TrainerHook] = (),
) -> ProbeResult:
    """Compute the gradient of one row, then of full micro-batches for some seconds.

    Raises:
        UserError: not even one row fits into memory.
    """
    settings = recipe.training
    budget = MAX_SECONDS if settings.time_budget is None else min(MAX_SECONDS, 60 * settings.time_budget * BUDGET_SHARE)
    size = min(settings.micro_batch_size, settings.batch_size)
    model.module.to(device).train()
    start, rows = time.perf_counter(), data.train.stream()
    tokens_per_row = data.train.epoch_tokens / max(1, len(data.train.rows()))
    memory_before = used_memory(device)

    def has_time() -> bool:
        return time.perf_counter() - start < budget

    def measure_speed(count: int) -> float:
        """Compute one micro-batch of `count` rows; return tokens per second."""
        batch = data.train.batch([next(rows) for _ in range(count)]).to(device)
        batch_start = time.perf_counter()
        gradient = accumulate_gradients(
            model, recipe.objective, [batch], max_grad_norm=settings.max_grad_norm, dtype=dtype,
            neftune_noise_alpha=settings.neftune_noise_alpha,
        )  # fmt: skip
        model.module.zero_grad(set_to_none=True)
        return gradient.num_tokens / (time.perf_counter() - batch_start)

    with torch.random.fork_rng(devices=[]):
        try:
            data.train.compute_ref_logprobs(model, device, dtype, size, hooks)
            model.module.train()
            if is_sharded(model.module):  # all ranks must run the same number of passes, so time cannot decide
                speeds = [measure_speed(size) for _ in range(MAX_PROBES)]
                return ProbeResult(max(speeds[1:]), tokens_per_row, size, peak_memory(device))
            speeds = [measure_speed(1)]
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise UserError(f"Not even one row of a step fits into memory. {REDUCE_MEMORY_HINT}") from error
        row_bytes = max(0, peak_memory(device) - memory_before)
        if row_bytes:
            size = max(1, min(size, int(MEMORY_FRACTION * available_memory(device) / row_bytes)))
        full_speeds: list[float] = []
        while len(full_speeds) < MAX_PROBES and size > 1 and has_time():
            try:
                full_speeds.append(measure_speed(size))
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                model.module.zero_grad(set_to_none=True)
                size = size // 2
        while size == 1 and len(speeds) < MAX_PROBES and has_time():
            speeds.append(measure_speed(1))
    measured = full_speeds or speeds
    speed = max(measured[1:] or measured)  # the first one includes warm-up
    unmeasured = 0 if full_speeds else row_bytes * (size - 1)  # there was no time for a full micro-batch
    return ProbeResult(speed, tokens_per_row, size, peak_memory(device) + unmeasured)
