"""Causal language modelling: predict every next token of texts and whole dialogues (pre-training).

L = −1/N Σₖ log P(xₖ | x₁ … xₖ₋₁) with N the number of predicted tokens.
"""

from collections.abc import Iterator

import numpy as np

from turnwise.core.messages import Conversation
from turnwise.data.batches import Batch, Example
from turnwise.data.sources import Document
from turnwise.text.render import Renderer


def encode(item: Conversation | Document, renderer: Renderer) -> Iterator[Example]:
    """Every token counts. A document ends with the end token; a dialogue is rendered as it will be served."""
    if isinstance(item, Document):
        ids = renderer.tokenizer.encode(item.text)
        if renderer.tokenizer.eos_id is not None:
            ids.append(renderer.tokenizer.eos_id)
    else:
        ids = renderer.render(item.messages).ids
    if len(ids) > 1:
        yield Example(np.asarray(ids, dtype=np.int32), np.ones(len(ids), dtype=bool))


def share(batch: Batch) -> int:
    """Per predicted token."""
    return batch.counted
