"""Supervised fine-tuning (SFT): cross-entropy on the assistant's replies.

L = −1/Σᵢ wᵢ · Σᵢ wᵢ Σₖ log P(yₖ | xᵢ, y₁ … yₖ₋₁)

i runs over the replies of an optimizer step and wᵢ is the message's weight (default 1). xᵢ is the prompt that precedes
reply i in serving, and k runs over the reply's tokens including its end-of-turn token. One forward pass covers all
replies of a dialogue if the chat template renders their prompts as prefixes of the dialogue: the causal mask hides
later tokens. Other replies become separate examples (`training/examples/dialogue_windows.py`).
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation, Message
from turnwise.data.rows import Document
from turnwise.text.rendering.reply_spans import RenderedReplies
from turnwise.training import objective
from turnwise.training.examples.batches import Batch
from turnwise.training.examples.dialogue_windows import split_dialogue
from turnwise.training.examples.example import Example
from turnwise.training.objective import ExampleContext

Turns = Literal["all", "last"]
"""Which replies of a dialogue are trained on."""


class SftObjective(objective.Objective):
    """Cross-entropy on replies.

    Attributes:
        turns: train on "all" replies of a dialogue or only on the "last".
    """

    EMPTY_MESSAGE: ClassVar[str] = "no conversation with an assistant turn"

    turns: Turns = "all"

    def examples(self, item: Conversation | Document, context: ExampleContext) -> Iterator[Example]:
        """Yield the dialogue in windows of at most `context.length` tokens; nothing if it has no reply."""
        for window, messages in reply_windows(item, self.turns, context, "sft"):
            yield reply_example(window, messages)

    def loss_denominator(self, batch: Batch) -> float:
        """Sum of the replies' weights."""
        return batch.units


def reply_windows(
    item: Conversation | Document, turns: Turns, context: ExampleContext, objective_name: str
) -> Iterator[tuple[RenderedReplies, Sequence[Message]]]:
    """Yield the windows of a dialogue with the replies to train on, and the dialogue's messages.

    Raises:
        InvalidData: the item is plain text.
    """
    if isinstance(item, Document):
        raise InvalidData(
            f"The objective '{objective_name}' needs dialogues, but this row is plain text. Use 'clm' for plain text."
        )
    context = context.for_item(item)
    indices = [index for index, message in enumerate(item.messages) if message.role == "assistant"]
    if turns == "last":
        indices = indices[-1:]
    trained = [index for index in indices if item.messages[index].weight > 0]
    for window in split_dialogue(item.messages, trained, context):
        yield window, item.messages


def reply_example(window: RenderedReplies, messages: Sequence[Message]) -> Example:
    """Build an example whose targets are the replies of a window, with the weights of their messages."""
    mask, weights = [False] * len(window.ids), [1.0] * len(window.ids)
    for reply in window.replies:
        size, weight = reply.end - reply.start, messages[reply.index].weight
        mask[reply.start : reply.end] = [True] * size
        weights[reply.start : reply.end] = [weight] * size
    reply_weights = [messages[reply.index].weight for reply in window.replies]
    is_unweighted = all(weight == 1 for weight in reply_weights)
    return Example.causal(window.ids, mask, sum(reply_weights), None if is_unweighted else weights)
