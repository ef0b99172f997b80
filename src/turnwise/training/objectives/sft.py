"""Supervised fine-tuning: cross-entropy on what the assistant says, over all its turns in a dialogue.

L = −1/Σᵢ wᵢ · Σᵢ wᵢ Σₖ log P(yₖ | xᵢ, y₁ … yₖ₋₁), where i runs over the replies of an optimiser step, wᵢ is the
message's weight (1 where nobody said), xᵢ is everything said before reply i, and k runs over the reply's tokens and
the one that ends its turn. All turns of a dialogue are learned in one pass, because causal attention already keeps each
reply from seeing what follows.
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation, Message
from turnwise.data.batches import Batch, Example
from turnwise.data.sources import Document
from turnwise.text.render import Rendered
from turnwise.training import objective
from turnwise.training.objective import Frame


def reply_ranges(messages: Sequence[Message], rendered: Rendered) -> list[tuple[Message, int, int]]:
    """Every assistant message with its ids `[start, end)`, the token that ends its turn included."""
    found = []
    starts = [span[0] for span in rendered.spans if span is not None] + [len(rendered.ids)]
    place = 0
    for message, span in zip(messages, rendered.spans, strict=True):
        if span is None:
            continue
        place += 1
        if message.role == "assistant":
            end = span[0]
            while end < starts[place] and rendered.loss_mask[end]:
                end += 1
            found.append((message, span[0], end))
    return found


class Objective(objective.Objective):
    """Learns what the assistant says.

    Attributes:
        turns: "all" of them, or the "last" one of each dialogue.
    """

    LACKING: ClassVar[str] = "no conversation with an assistant turn"

    turns: Literal["all", "last"] = "all"

    def examples(self, item: Conversation | Document, frame: Frame) -> Iterator[Example]:
        """The dialogue, in pieces that fit a row; nothing where the assistant says nothing."""
        if isinstance(item, Document):
            raise InvalidData(
                "Fine-tuning ('sft') needs dialogues, but this is plain text. The objective 'clm' learns from plain "
                "text."
            )
        rendered = frame.renderer.render(item.messages)
        said = reply_ranges(item.messages, rendered)
        if self.turns == "last":
            said = said[-1:]
        learned = [(message.weight, start, end) for message, start, end in said if message.weight > 0]
        if not learned:
            return
        mask, weights = [False] * len(rendered.ids), [1.0] * len(rendered.ids)
        for weight, start, end in learned:
            mask[start:end] = [True] * (end - start)
            weights[start:end] = [weight] * (end - start)
        same = all(weight == 1 for weight, _, _ in learned)
        units = sum(weight for weight, _, _ in learned)
        yield from Example.causal(rendered.ids, mask, units, None if same else weights).windows(frame.length)

    def share(self, batch: Batch) -> float:
        """Per reply, as the formula says."""
        return batch.units
