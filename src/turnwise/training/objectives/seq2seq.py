"""Dialogue for encoder–decoder models: the encoder reads what was said, the decoder learns the reply.

L = −1/N Σᵢ Σₖ log P(yₖ | encoder(xᵢ), y₁ … yₖ₋₁) over the N replies of an optimiser step. Each reply is an example of
its own, since an encoder sees all of its source at once and so may not be shown what comes later.
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import numpy as np

from turnwise.core.errors import InvalidData
from turnwise.core.exchanges import drop_exchanges, droppable_exchanges
from turnwise.core.messages import Conversation, Message
from turnwise.data.sources import Document
from turnwise.models.language_model import ModelKind
from turnwise.text.rendering.reply_spans import render_reply
from turnwise.training import objective
from turnwise.training.examples.batches import IGNORED, Batch, Example
from turnwise.training.examples.dialogue_windows import count_dropped_exchanges
from turnwise.training.objective import ExampleContext


class Objective(objective.Objective):
    """Learns what the assistant says from what was said before.

    Attributes:
        turns: "all" of the assistant's, or the "last" one of each dialogue.
    """

    MODEL_KINDS: ClassVar[frozenset[ModelKind]] = frozenset({"encoder_decoder"})
    EMPTY_MESSAGE: ClassVar[str] = "no conversation with an assistant turn after another"

    turns: Literal["all", "last"] = "all"

    def examples(self, item: Conversation | Document, frame: ExampleContext) -> Iterator[Example]:
        """One for every reply; a history that is too long loses its oldest exchanges, a reply its end."""
        if isinstance(item, Document):
            raise InvalidData(
                "Dialogue ('seq2seq') needs dialogues, but this is plain text. The objective 'span' learns from it."
            )
        frame = frame.for_item(item)
        places = [i for i, message in enumerate(item.messages) if i and message.role == "assistant"]
        for i in places[-1:] if self.turns == "last" else places:
            if item.messages[i].weight > 0 and item.messages[i].full_text.strip():
                yield from self._reply(item.messages[: i + 1], frame)

    @staticmethod
    def _reply(messages: Sequence[Message], frame: ExampleContext) -> Iterator[Example]:
        old, lost = droppable_exchanges(messages), frame.truncation
        count = count_dropped_exchanges(frame.renderer, messages[:-1], frame.length, reply=1) if old else 0
        lost.dialogues += count > 0
        piece = render_reply(frame.renderer, drop_exchanges(messages, old[:count]))
        if piece is None:
            lost.unservable_replies += 1
            return
        (reply,) = piece.replies
        source, said = piece.ids[: reply.start], piece.ids[reply.start : reply.end]
        room = frame.length - len(frame.decoder_start_ids) + 1
        if len(source) > frame.length:
            lost.left_out_replies += 1
            lost.tokens += len(said)
        elif source:
            lost.cut_replies += len(said) > room
            lost.tokens += max(0, len(said) - room)
            yield answer(source, said, frame, messages[-1].weight)

    def share(self, batch: Batch) -> float:
        """Per reply."""
        return batch.units


def answer(source: list[int], reply: list[int], frame: ExampleContext, weight: float = 1.0) -> Example:
    """The decoder starts with its start ids and is to say `reply`."""
    ids = np.asarray([*frame.decoder_start_ids, *reply[:-1]], dtype=np.int32)
    targets = np.full(len(ids), IGNORED, dtype=np.int32)
    targets[len(frame.decoder_start_ids) - 1 :] = reply
    weights = None if weight == 1 else np.full(len(ids), weight, dtype=np.float32)
    return Example(
        ids[: frame.length], targets[: frame.length], weights, weight, source=np.asarray(source, dtype=np.int32)
    )
