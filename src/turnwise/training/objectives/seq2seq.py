"""Dialogue for encoder–decoder models: the encoder reads what was said, the decoder learns the reply.

L = −1/N Σᵢ Σₖ log P(yₖ | encoder(xᵢ), y₁ … yₖ₋₁) over the N replies of an optimiser step. Each reply is an example of
its own, since an encoder sees all of its source at once and so may not be shown what comes later.
"""

from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation
from turnwise.data.batches import IGNORED, Batch, Example
from turnwise.data.sources import Document
from turnwise.models.model import Kind
from turnwise.training import objective
from turnwise.training.objective import Frame
from turnwise.training.objectives.sft import reply_ranges


class Objective(objective.Objective):
    """Learns what the assistant says from what was said before.

    Attributes:
        turns: "all" of the assistant's, or the "last" one of each dialogue.
    """

    KINDS: ClassVar[frozenset[Kind]] = frozenset({"encoder_decoder"})
    LACKING: ClassVar[str] = "no conversation with an assistant turn after another"

    turns: Literal["all", "last"] = "all"

    def examples(self, item: Conversation | Document, frame: Frame) -> Iterator[Example]:
        """One for every reply; a history that is too long loses its beginning, a reply its end."""
        if isinstance(item, Document):
            raise InvalidData(
                "Dialogue ('seq2seq') needs dialogues, but this is plain text. The objective 'span' learns from it."
            )
        places = [i for i, message in enumerate(item.messages) if i and message.role == "assistant"]
        for i in places[-1:] if self.turns == "last" else places:
            message = item.messages[i]
            source = frame.renderer.render(item.messages[:i], add_generation_prompt=True).ids[-frame.length :]
            rendered = frame.renderer.render(item.messages[: i + 1])
            said = [
                (start, end) for told, start, end in reply_ranges(item.messages[: i + 1], rendered) if told is message
            ]
            if source and said and message.weight > 0:
                yield answer(source, rendered.ids[slice(*said[-1])], frame, message.weight)

    def share(self, batch: Batch) -> float:
        """Per reply."""
        return batch.units


def answer(source: list[int], reply: list[int], frame: Frame, weight: float = 1.0) -> Example:
    """The decoder starts with its start ids and is to say `reply`."""
    ids = np.asarray([*frame.start_ids, *reply[:-1]], dtype=np.int32)
    targets = np.full(len(ids), IGNORED, dtype=np.int32)
    targets[len(frame.start_ids) - 1 :] = reply
    weights = None if weight == 1 else np.full(len(ids), weight, dtype=np.float32)
    return Example(
        ids[: frame.length], targets[: frame.length], weights, weight, source=np.asarray(source, dtype=np.int32)
    )
