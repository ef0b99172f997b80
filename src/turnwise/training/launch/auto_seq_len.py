"""Default sequence length, from the lengths of the training dialogues."""

from collections.abc import Iterator
from itertools import islice

import numpy as np

from turnwise.core.errors import UserError
from turnwise.core.messages import Conversation, Message
from turnwise.data.rows import Record
from turnwise.models.language_model import LanguageModel
from turnwise.text.rendering.renderer import Renderer
from turnwise.training.examples.recipe_sources import open_source
from turnwise.training.objectives import OBJECTIVES
from turnwise.training.recipe import Recipe

DEFAULT_MAX_SEQ_LEN = 512  # tokens; shorter rows pack worse
MAX_AUTO_SEQ_LEN = 4096  # tokens
MAX_MEASURED = 1000  # items to tokenize
QUANTILE = 0.99  # share of items that fit into a row
MULTIPLE = 64  # sequence lengths are multiples of this
WINDOWED = ("clm", "mlm", "span")  # objectives that split texts at any token


def with_max_seq_len(recipe: Recipe, renderer: Renderer, model: LanguageModel) -> Recipe:
    """Return the recipe with a sequence length; longer sequences reduce batch size and micro-batch size.

    The length covers 99 % of the training dialogues, is at least 512 tokens and at most 4,096 and the model's context.
    If it is n times 512, the unset batch sizes are divided by n, so that memory and tokens per step stay the same.
    """
    training, context = recipe.training, model.context_length
    if training.max_seq_len is not None:
        return recipe
    length = min(DEFAULT_MAX_SEQ_LEN, context)
    needs_lengths = not recipe.objective.READS_ANNOTATIONS and OBJECTIVES.plugin_name(recipe.objective) not in WINDOWED
    lengths = list(_lengths(recipe, renderer)) if needs_lengths else []
    if lengths:
        needed = int(np.quantile(lengths, QUANTILE, method="higher"))
        length = min(max(length, MULTIPLE * -(-needed // MULTIPLE)), MAX_AUTO_SEQ_LEN, context)
    changes: dict[str, int] = {"max_seq_len": length}
    fields_set = training.model_fields_set
    if length > DEFAULT_MAX_SEQ_LEN:
        if "micro_batch_size" not in fields_set:
            changes["micro_batch_size"] = max(1, training.micro_batch_size * DEFAULT_MAX_SEQ_LEN // length)
        if "batch_size" not in fields_set and training.preset is None and training.time_budget is None:
            changes["batch_size"] = max(1, round(training.batch_size * DEFAULT_MAX_SEQ_LEN / length))
    return recipe.with_training(**changes)


def _lengths(recipe: Recipe, renderer: Renderer) -> Iterator[int]:
    """Yield the token counts of a sample of the training data; bad rows are ignored here."""
    limit = max(1, MAX_MEASURED // len(recipe.data.train))
    for source in recipe.data.train:
        items = iter(open_source(source, skip_bad_rows=True))
        for item in islice(items, min(limit, source.max_items or limit)):
            sizes = [_size(messages, renderer) for messages in _completions(item)]
            # Both completions of a preference pair share a row.
            yield len(sizes) * max(sizes, default=0)


def _completions(item: Record) -> list[tuple[Message, ...]]:
    if not isinstance(item, Conversation):
        return []
    return [item.messages, item.rejected] if item.rejected else [item.messages]


def _size(messages: tuple[Message, ...], renderer: Renderer) -> int:
    try:
        return len(renderer.tokenizer.encode(renderer.render_text(messages), allow_special=True))
    except UserError:
        return 0
