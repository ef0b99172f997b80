"""Checks before a run: example texts, speed, memory, and whether there is anything to train on."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, islice

import torch

from turnwise.core.errors import InvalidData, UserError
from turnwise.models.language_model import LanguageModel
from turnwise.training.device_memory import REDUCE_MEMORY_HINT, available_memory
from turnwise.training.distributed.sharding import local_shard
from turnwise.training.examples.dataset import DatasetSplits
from turnwise.training.examples.example import IGNORED, Example
from turnwise.training.hooks import TrainerHook
from turnwise.training.launch.throughput_probe import probe_throughput
from turnwise.training.objective import ExampleContext
from turnwise.training.recipe import Recipe

NUM_SHOWN = 2  # examples in the report


@dataclass(frozen=True)
class TextSpan:
    """A stretch of an example's text; `is_target` is True if its tokens are targets."""

    text: str
    is_target: bool


@dataclass(frozen=True)
class PreflightReport:
    """Measurements before the first step.

    Attributes:
        num_parameters: parameters of the model.
        num_trainable: trainable parameters.
        tokens_per_second: training speed, without padding.
        tokens_per_row: mean tokens per row, without padding.
        peak_memory: estimated peak memory of the run in bytes.
        micro_batch_size: rows per micro-batch that fit into memory.
        rows_per_epoch: rows per epoch.
        packing_efficiency: share of batch positions that are not padding.
        examples: the first examples as text.
    """

    num_parameters: int
    num_trainable: int
    tokens_per_second: float
    tokens_per_row: float
    peak_memory: int
    micro_batch_size: int
    rows_per_epoch: int
    packing_efficiency: float
    examples: Sequence[Sequence[TextSpan]]

    def seconds(self, steps: int, batch_size: int) -> float:
        """Estimate the duration of `steps` steps of `batch_size` rows, without validation."""
        return steps * batch_size * self.tokens_per_row / self.tokens_per_second


def preflight(
    recipe: Recipe,
    model: LanguageModel,
    data: DatasetSplits,
    *,
    device: torch.device,
    dtype: torch.dtype,
    hooks: Sequence[TrainerHook] = (),
) -> PreflightReport:
    """Inspect the examples and compute a few gradients without updating weights.

    Args:
        recipe: recipe with a sequence length.
        model: model prepared by the recipe's method.
        data: datasets of the run.
        device: device to train on.
        dtype: compute type.
        hooks: receive the progress of the reference model.

    Raises:
        InvalidData: the first examples have no target.
        UserError: there is not enough memory.
    """
    train = data.train
    sample = [train.example(index) for index in islice(train.epoch_indices(0).tolist(), 200)]
    if not any(example.has_targets for example in sample):
        raise InvalidData("The training data has no target: every token of the first examples is masked.")
    parameters = list(model.module.parameters())
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    probe = probe_throughput(recipe, model, data, device, dtype, hooks)
    # Optimizer state in float32: two moments per weight with AdamW, one with Muon. The probe already has the gradient.
    num_local = sum(local_shard(parameter).numel() for parameter in trainable)
    state_bytes = num_local * 4 * (2 if recipe.training.optimizer == "adamw" else 1)
    free = available_memory(device)
    if state_bytes > free:
        raise UserError(
            f"The optimizer state needs another {state_bytes / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are "
            f"free. {REDUCE_MEMORY_HINT}"
        )
    return PreflightReport(
        num_parameters=sum(parameter.numel() for parameter in parameters),
        num_trainable=sum(parameter.numel() for parameter in trainable),
        tokens_per_second=probe.tokens_per_second,
        tokens_per_row=probe.tokens_per_row,
        peak_memory=probe.peak_memory + state_bytes,
        micro_batch_size=probe.micro_batch_size,
        rows_per_epoch=len(train.rows()),
        packing_efficiency=train.packing_efficiency,
        examples=[render_spans(example, train.context) for example in sample[:NUM_SHOWN]],
    )


def with_micro_batch_size(recipe: Recipe, limit: int) -> Recipe:
    """Return the recipe with at most `limit` rows per micro-batch."""
    if recipe.training.micro_batch_size <= limit:
        return recipe
    return recipe.with_training(micro_batch_size=limit)


def render_spans(example: Example, context: ExampleContext) -> list[TextSpan]:
    """Decode an example into stretches of text that are, or are not, trained on."""
    decode = context.tokenizer.decode
    if example.encoder_ids is not None:
        target = example.targets[example.target_mask].tolist()
        return [
            TextSpan(decode(example.encoder_ids.tolist(), skip_special_tokens=False), is_target=False),
            TextSpan(decode(target, skip_special_tokens=False), is_target=True),
        ]
    spans = []
    start = 0
    for size in example.segment_lengths or (example.size,):
        ids, targets = example.ids[start : start + size].tolist(), example.targets[start : start + size].tolist()
        # A causal example predicts the next id; a masked one predicts the id at the same position.
        is_causal = all(target in (IGNORED, after) for target, after in zip(targets[:-1], ids[1:], strict=True))
        if is_causal:
            mask, text_ids = [False, *(target != IGNORED for target in targets[:-1])], ids
        else:
            mask = [target != IGNORED for target in targets]
            text_ids = [t if t != IGNORED else i for i, t in zip(ids, targets, strict=True)]
        for learned, run in groupby(zip(mask, text_ids, strict=True), key=lambda pair: pair[0]):
            spans.append(TextSpan(decode([id for _, id in run], skip_special_tokens=False), learned))
        start += size
    return spans
