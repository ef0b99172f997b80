"""Causal language modelling: predict every next token of texts and whole dialogues (pre-training).

L = −1/N Σₖ log P(xₖ | x₁ … xₖ₋₁) with N the number of predicted tokens.
"""

from collections.abc import Iterator

from turnwise.core.messages import Conversation
from turnwise.data.sources import Document
from turnwise.training import objective
from turnwise.training.examples.batches import Example
from turnwise.training.objective import ExampleContext


class Objective(objective.Objective):
    """Every token counts. A document ends with the end token; a dialogue is rendered as it will be served."""

    def examples(self, item: Conversation | Document, frame: ExampleContext) -> Iterator[Example]:
        """The text, in pieces that fit a row."""
        ids = text_ids(item, frame)
        yield from Example.causal(ids, [True] * len(ids)).split_windows(frame.length)


def text_ids(item: Conversation | Document, frame: ExampleContext) -> list[int]:
    """All of an item as ids, with an end."""
    if isinstance(item, Conversation):
        return frame.renderer.render(item.messages, tools=item.tools).ids
    ids = frame.tokenizer.encode(item.text)
    return ids if frame.tokenizer.eos_id is None else [*ids, frame.tokenizer.eos_id]
