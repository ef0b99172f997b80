"""Before a run starts: what it will learn from, how long it will take, how much memory, and whether it can work."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, islice

import torch

from turnwise.core.errors import InvalidData, UserError
from turnwise.models.language_model import LanguageModel
from turnwise.training.device_memory import available_memory
from turnwise.training.distributed.sharding import local_shard
from turnwise.training.examples.batches import IGNORED, Example
from turnwise.training.examples.dataset import DatasetSplits
from turnwise.training.launch.throughput_probe import REDUCE_MEMORY_HINT, probe_throughput
from turnwise.training.objective import ExampleContext
from turnwise.training.recipe import Recipe

SHOWN = 2  # examples


@dataclass(frozen=True)
class TextSpan:
    """Text of an example, and whether it is learned."""

    text: str
    learned: bool


@dataclass(frozen=True)
class PreflightReport:
    """What is known before the first step.

    Attributes:
        weights, learning: numbers in the model, and those of them that learn.
        tokens_per_second: in a few steps that were computed and not made.
        row_tokens: in a row, padding left out.
        memory: bytes that the run takes at its most, about.
        micro_rows: rows that are computed at a time.
        rows: in an epoch.
        fill: share of the places in a batch that are no padding.
        examples: the first ones, in pieces.
    """

    num_parameters: int
    num_trainable: int
    tokens_per_second: float
    row_tokens: float
    memory: int
    micro_rows: int
    rows: int
    fill: float
    examples: Sequence[Sequence[TextSpan]]

    def seconds(self, steps: int, rows: int) -> float:
        """How long so many steps of so many rows take, validation left out."""
        return steps * rows * self.row_tokens / self.tokens_per_second


def preflight(
    recipe: Recipe, model: LanguageModel, data: DatasetSplits, *, device: torch.device, dtype: torch.dtype
) -> PreflightReport:
    """Look at the examples, and compute a few steps without making them; nothing is changed.

    Raises:
        InvalidData: nothing in the examples is a target.
        UserError: the machine has not enough memory.
    """
    train = data.train
    some = [train.example(index) for index in islice(train.epoch_indices(0).tolist(), 200)]
    if not any(example.target_mask.any() for example in some):
        raise InvalidData("Nothing in the training data is to be learned: every token of the first examples is masked.")
    weights = sum(parameter.numel() for parameter in model.module.parameters())
    learning = sum(parameter.numel() for parameter in model.module.parameters() if parameter.requires_grad)
    here = sum(local_shard(parameter).numel() for parameter in model.module.parameters() if parameter.requires_grad)
    found = probe_throughput(recipe, model, data, device, dtype)
    # Two moments of every weight that learns, in float32; the gradient was there already.
    moments = here * 4 * (2 if recipe.training.optimizer == "adamw" else 1)
    free = available_memory(device)
    if moments > free:
        raise UserError(
            f"This run would take {moments / 1e9:.1f} GB of memory more for the optimiser, and {free / 1e9:.1f} are "
            f"free. {REDUCE_MEMORY_HINT}"
        )
    return PreflightReport(
        num_parameters=weights,
        num_trainable=learning,
        tokens_per_second=found.tokens_per_second,
        row_tokens=found.row_tokens,
        memory=found.peak + moments,
        micro_rows=found.micro_rows,
        rows=len(train.rows()),
        fill=train.fill,
        examples=[render_spans(example, train.context) for example in some[:SHOWN]],
    )


def with_micro_batch_size(recipe: Recipe, most: int) -> Recipe:
    """The recipe with at most so many rows computed at a time."""
    if recipe.training.micro_rows <= most:
        return recipe
    return recipe.model_copy(update={"training": recipe.training.model_copy(update={"micro_rows": most})})


def render_spans(example: Example, context: ExampleContext) -> list[TextSpan]:
    """An example as text: what is read, and what is learned."""
    decode = context.tokenizer.decode
    found = []
    if example.source is not None:
        found.append(TextSpan(decode(example.source.tolist(), skip_special=False), learned=False))
        said = example.targets[example.target_mask].tolist()
        return [*found, TextSpan(decode(said, skip_special=False), learned=True)]
    sizes = example.segment_lengths or (example.size,)
    at = 0
    for size in sizes:
        ids, targets = example.ids[at : at + size].tolist(), example.targets[at : at + size].tolist()
        # What is learned is the next id, or, where gaps are filled, what stands there.
        shifted = all(target in (IGNORED, after) for target, after in zip(targets[:-1], ids[1:], strict=True))
        learned = (
            [False, *(target != IGNORED for target in targets[:-1])] if shifted else [t != IGNORED for t in targets]
        )
        shown = ids if shifted else [t if t != IGNORED else i for i, t in zip(ids, targets, strict=True)]
        for counts, run in groupby(zip(learned, shown, strict=True), key=lambda pair: pair[0]):
            found.append(TextSpan(decode([id for _, id in run], skip_special=False), counts))
        at += size
    return found
