"""How long a row is where the recipe leaves it open: as the data's dialogues are, as far as model and memory allow."""

from collections.abc import Iterator
from itertools import islice

import numpy as np

from turnwise.core.errors import UserError
from turnwise.core.messages import Conversation, Message
from turnwise.data.sources import Record
from turnwise.models.language_model import LanguageModel
from turnwise.text.rendering.renderer import Renderer
from turnwise.training.examples.recipe_sources import open_source
from turnwise.training.objectives import OBJECTIVES
from turnwise.training.recipe import Recipe

DEFAULT_MAX_SEQ_LEN = 512  # tokens; shorter rows would only leave less to pack
MAX_AUTO_SEQ_LEN = 4096  # tokens, unless the recipe says more
MEASURED = 1000  # items
SHARE = 0.99  # of the items fit into a row
STEP = 64  # row lengths are multiples of it
CHOPPED = ("clm", "mlm", "span")  # objectives that cut texts anywhere


def with_max_seq_len(recipe: Recipe, renderer: Renderer, model: LanguageModel) -> Recipe:
    """The recipe with its row length settled, and with fewer rows at a time where they are long.

    The length is that of nearly all dialogues of the training data, at least 512 tokens, at most 4,096 and the model's
    context. A row that is n times the usual length goes with an n-th of the rows, so memory and the tokens of a step
    stay what they were.
    """
    training, context = recipe.training, model.context_length
    if training.row_length is not None:
        return recipe
    length = min(DEFAULT_MAX_SEQ_LEN, context)
    lengths = [] if OBJECTIVES.plugin_name(recipe.objective) in CHOPPED else list(_lengths(recipe, renderer))
    if lengths:
        needed = int(np.quantile(lengths, SHARE, method="higher"))
        length = min(max(length, STEP * -(-needed // STEP)), MAX_AUTO_SEQ_LEN, context)
    changes: dict[str, int] = {"row_length": length}
    given = training.model_fields_set
    if length > DEFAULT_MAX_SEQ_LEN:
        if "micro_rows" not in given:
            changes["micro_rows"] = max(1, training.micro_rows * DEFAULT_MAX_SEQ_LEN // length)
        if "rows" not in given and training.effort is None and training.minutes is None:
            changes["rows"] = max(1, round(training.rows * DEFAULT_MAX_SEQ_LEN / length))
    return recipe.model_copy(update={"training": training.model_copy(update=changes)})


def _lengths(recipe: Recipe, renderer: Renderer) -> Iterator[int]:
    """Tokens that some items of the training data want in a row; rows that cannot be used are passed over here."""
    each = max(1, MEASURED // len(recipe.data.train))
    for wanted in recipe.data.train:
        items = iter(open_source(wanted, skip_bad=True))
        for item in islice(items, min(each, wanted.limit or each)):
            sizes = [_size(messages, renderer) for messages in _ends(item)]
            # Two ends of a preference share a row.
            yield len(sizes) * max(sizes, default=0)


def _ends(item: Record) -> list[tuple[Message, ...]]:
    if not isinstance(item, Conversation):
        return []
    return [item.messages, item.rejected] if item.rejected else [item.messages]


def _size(messages: tuple[Message, ...], renderer: Renderer) -> int:
    try:
        return len(renderer.tokenizer.encode(renderer.text(messages), allow_special=True))
    except UserError:
        return 0
