"""Supervised fine-tuning: cross-entropy on what the assistant says, over all its turns in a dialogue.

L = −1/Σᵢ wᵢ · Σᵢ wᵢ Σₖ log P(yₖ | xᵢ, y₁ … yₖ₋₁), where i runs over the replies of an optimiser step, wᵢ is the
message's weight (1 where nobody said), xᵢ is the prompt that reply i is served after, and k runs over its tokens and
the one that ends its turn. All turns of a dialogue are learned in one pass where the template writes their prompts
so, because causal attention already keeps each reply from seeing what follows; others are examples of their own
(`training/examples/dialogue_windows.py`).
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation, Message
from turnwise.data.sources import Document
from turnwise.text.rendering.reply_spans import RenderedReplies
from turnwise.training import objective
from turnwise.training.examples.batches import Batch, Example
from turnwise.training.examples.dialogue_windows import split_dialogue
from turnwise.training.objective import ExampleContext


class Objective(objective.Objective):
    """Learns what the assistant says.

    Attributes:
        turns: "all" of them, or the "last" one of each dialogue.
    """

    EMPTY_MESSAGE: ClassVar[str] = "no conversation with an assistant turn"

    turns: Literal["all", "last"] = "all"

    def examples(self, item: Conversation | Document, frame: ExampleContext) -> Iterator[Example]:
        """The dialogue, shortened where it exceeds a row; nothing where the assistant says nothing."""
        if isinstance(item, Document):
            raise InvalidData(
                "Fine-tuning ('sft') needs dialogues, but this is plain text. The objective 'clm' learns from plain "
                "text."
            )
        frame = frame.for_item(item)
        places = [place for place, message in enumerate(item.messages) if message.role == "assistant"]
        if self.turns == "last":
            places = places[-1:]
        for piece in split_dialogue(
            item.messages, [place for place in places if item.messages[place].weight > 0], frame
        ):
            yield _example(piece, item.messages)

    def share(self, batch: Batch) -> float:
        """Per reply, as the formula says."""
        return batch.units


def _example(piece: RenderedReplies, messages: Sequence[Message]) -> Example:
    mask, weights = [False] * len(piece.ids), [1.0] * len(piece.ids)
    for reply in piece.replies:
        size, weight = reply.end - reply.start, messages[reply.index].weight
        mask[reply.start : reply.end] = [True] * size
        weights[reply.start : reply.end] = [weight] * size
    learned = [messages[reply.index].weight for reply in piece.replies]
    same = all(weight == 1 for weight in learned)
    return Example.causal(piece.ids, mask, sum(learned), None if same else weights)
