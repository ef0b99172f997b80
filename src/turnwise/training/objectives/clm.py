"""Causal language modelling: predict every next token of texts and dialogues (pre-training).

L = −1/N Σₖ log P(xₖ | x₁ … xₖ₋₁) with N the number of predicted tokens.
"""

from collections.abc import Iterator

from turnwise.core.messages import Conversation
from turnwise.data.rows import Document
from turnwise.training import objective
from turnwise.training.examples.example import Example
from turnwise.training.objective import ExampleContext


class ClmObjective(objective.Objective):
    """Cross-entropy on every token. A document ends with the EOS token; a dialogue is rendered as in serving."""

    def examples(self, item: Conversation | Document, context: ExampleContext) -> Iterator[Example]:
        """Yield the text in windows of at most `context.length` tokens."""
        ids = text_ids(item, context)
        yield from Example.causal(ids, [True] * len(ids)).split_windows(context.length)


def text_ids(item: Conversation | Document, context: ExampleContext) -> list[int]:
    """Tokenize a conversation or a document; a document ends with the EOS token, if the tokenizer has one."""
    if isinstance(item, Conversation):
        return context.renderer.render(item.messages, tools=item.tools).ids
    ids = context.tokenizer.encode(item.text)
    return ids if context.tokenizer.eos_token_id is None else [*ids, context.tokenizer.eos_token_id]
