"""A few micro-batches that are computed and not learned from: how quick they are, and how many rows fit into memory."""

import time
from dataclasses import dataclass

import torch

from turnwise.core.errors import UserError
from turnwise.models.language_model import LanguageModel
from turnwise.training.device_memory import available_memory, is_out_of_memory, peak_memory, used_memory
from turnwise.training.distributed.sharding import is_sharded
from turnwise.training.examples.dataset import DatasetSplits
from turnwise.training.gradient_accumulation import accumulate_gradients
from turnwise.training.recipe import Recipe

MAX_PROBES = 3  # micro-batches of full size, if they are quick
SECONDS = 20.0  # after which no further one is begun
OF_BUDGET = 0.05  # of a time budget, where that is less
MEMORY_FRACTION = 0.9  # of the free memory may be taken
REDUCE_MEMORY_HINT = "A smaller '--micro-rows' or '--row-length' or the method 'lora' takes less."


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What was measured.

    Attributes:
        tokens_per_second: useful tokens.
        row_tokens: in a row, without padding.
        micro_rows: rows that are computed at a time, as far as memory allows.
        peak: bytes taken at the most.
    """

    tokens_per_second: float
    row_tokens: float
    micro_rows: int
    peak: int


def probe_throughput(
    recipe: Recipe, model: LanguageModel, data: DatasetSplits, device: torch.device, dtype: torch.dtype
) -> ProbeResult:
    """Compute one row, then as many at a time as the recipe says or memory allows, for some seconds.

    Raises:
        UserError: not even one row fits into memory.
    """
    training = recipe.training
    budget = SECONDS if training.minutes is None else min(SECONDS, 60 * training.minutes * OF_BUDGET)
    most = min(training.micro_rows, training.rows)
    model.module.to(device).train()
    began, rows = time.perf_counter(), data.train.stream()
    row_tokens = data.train.epoch_tokens / max(1, len(data.train.rows()))
    before = used_memory(device)
    with torch.random.fork_rng(devices=[]):

        def measured(count: int) -> float:
            """Useful tokens a second."""
            batch = data.train.batch([next(rows) for _ in range(count)]).to(device)
            start = time.perf_counter()
            found = accumulate_gradients(
                model, recipe.objective, [batch], clip_norm=training.clip_norm, dtype=dtype, neftune=training.neftune
            )
            model.module.zero_grad(set_to_none=True)
            return found.num_tokens / (time.perf_counter() - start)

        try:
            data.train.compute_ref_logprobs(model, device, dtype, most)
            model.module.train()
            if is_sharded(model.module):  # all workers have to compute equally often
                speeds = [measured(most) for _ in range(MAX_PROBES)]
                return ProbeResult(max(speeds[1:]), row_tokens, most, peak_memory(device))
            speeds = [measured(1)]
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise UserError(f"Not even one row of a step fits into memory. {REDUCE_MEMORY_HINT}") from error
        each = max(0, peak_memory(device) - before)
        most = max(1, min(most, int(MEMORY_FRACTION * available_memory(device) / each) if each else most))
        full: list[float] = []
        while len(full) < MAX_PROBES and most > 1 and time.perf_counter() - began < budget:
            try:
                full.append(measured(most))
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                model.module.zero_grad(set_to_none=True)
                most = most // 2
        while most == 1 and len(speeds) < MAX_PROBES and time.perf_counter() - began < budget:
            speeds.append(measured(1))
    known = full or speeds
    speed = max(known[1:] or known)  # the first is to warm up
    unseen = 0 if full else each * (most - 1)  # no time to compute as many at once
    return ProbeResult(speed, row_tokens, most, peak_memory(device) + unseen)
