"""Supervised fine-tuning: cross-entropy on what the assistant says, over all its turns in a dialogue.

L = −1/N Σᵢ Σₖ log P(yₖ | xᵢ, y₁ … yₖ₋₁), where i runs over the N replies of an optimiser step, xᵢ is everything said
before reply i, and k runs over the reply's tokens and the one that ends its turn. All turns of a dialogue are learned
in one pass, because causal attention already keeps each reply from seeing what follows.
"""

from collections.abc import Iterator

import numpy as np

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation
from turnwise.data.batches import Batch, Example
from turnwise.data.sources import Document
from turnwise.text.render import Renderer


def encode(item: Conversation | Document, renderer: Renderer) -> Iterator[Example]:
    """The dialogue with its loss mask; nothing where the assistant says nothing."""
    if isinstance(item, Document):
        raise InvalidData(
            "Fine-tuning ('sft') needs dialogues, but this is plain text. The objective 'clm' learns from plain text."
        )
    rendered = renderer.render(item.messages)
    mask = np.asarray(rendered.loss_mask, dtype=bool)
    if mask[1:].any():
        spoken = zip(item.messages, rendered.spans, strict=True)
        replies = sum(message.role == "assistant" and span is not None for message, span in spoken)
        yield Example(np.asarray(rendered.ids, dtype=np.int32), mask, replies)


def share(batch: Batch) -> int:
    """Per reply, as the formula says."""
    return batch.replies
