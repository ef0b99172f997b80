"""Dialogue with encoder–decoder models: the encoder reads the history, the decoder predicts the reply.

L = −1/N Σᵢ Σₖ log P(yₖ | encoder(xᵢ), y₁ … yₖ₋₁) over the N replies of an optimizer step. Each reply is a separate
example, because an encoder attends to its whole input and must not see later turns.
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import numpy as np

from turnwise.core.errors import InvalidData
from turnwise.core.exchanges import drop_exchanges, droppable_exchanges
from turnwise.core.messages import Conversation, Message
from turnwise.data.rows import Document
from turnwise.models.language_model import ModelKind
from turnwise.text.rendering.reply_spans import render_reply
from turnwise.training import objective
from turnwise.training.examples.batches import Batch
from turnwise.training.examples.dialogue_windows import count_dropped_exchanges
from turnwise.training.examples.example import IGNORED, Example
from turnwise.training.objective import ExampleContext


class Seq2SeqObjective(objective.Objective):
    """Cross-entropy on replies given the history.

    Attributes:
        turns: train on "all" replies of a dialogue or only on the "last".
    """

    MODEL_KINDS: ClassVar[frozenset[ModelKind]] = frozenset({"encoder_decoder"})
    EMPTY_MESSAGE: ClassVar[str] = "no conversation with an assistant turn after another"

    turns: Literal["all", "last"] = "all"

    def examples(self, item: Conversation | Document, context: ExampleContext) -> Iterator[Example]:
        """Yield one example per reply. Long histories lose their oldest exchanges, long replies their end."""
        if isinstance(item, Document):
            raise InvalidData(
                "The objective 'seq2seq' needs dialogues, but this row is plain text. Use 'span' for plain text."
            )
        context = context.for_item(item)
        indices = [i for i, message in enumerate(item.messages) if i and message.role == "assistant"]
        for i in indices[-1:] if self.turns == "last" else indices:
            if item.messages[i].weight > 0 and item.messages[i].full_text.strip():
                yield from self._reply_example(item.messages[: i + 1], context)

    @staticmethod
    def _reply_example(messages: Sequence[Message], context: ExampleContext) -> Iterator[Example]:
        exchanges, truncation = droppable_exchanges(messages), context.truncation
        count = count_dropped_exchanges(context.renderer, messages[:-1], context.length, reply=1) if exchanges else 0
        truncation.dialogues += count > 0
        rendered = render_reply(context.renderer, drop_exchanges(messages, exchanges[:count]))
        if rendered is None:
            truncation.unservable_replies += 1
            return
        (reply,) = rendered.replies
        source, reply_ids = rendered.ids[: reply.start], rendered.ids[reply.start : reply.end]
        max_reply_tokens = context.length - len(context.decoder_start_ids) + 1
        if len(source) > context.length:
            truncation.left_out_replies += 1
            truncation.tokens += len(reply_ids)
        elif source:
            truncation.cut_replies += len(reply_ids) > max_reply_tokens
            truncation.tokens += max(0, len(reply_ids) - max_reply_tokens)
            yield decoder_example(source, reply_ids, context, messages[-1].weight)

    def loss_denominator(self, batch: Batch) -> float:
        """Sum of the replies' weights."""
        return batch.units


def decoder_example(source: list[int], reply: list[int], context: ExampleContext, weight: float = 1.0) -> Example:
    """Build the example whose encoder reads `source` and whose decoder predicts `reply`."""
    num_start = len(context.decoder_start_ids)
    ids = np.asarray([*context.decoder_start_ids, *reply[:-1]], dtype=np.int32)
    targets = np.full(len(ids), IGNORED, dtype=np.int32)
    targets[num_start - 1 :] = reply  # the last start token predicts the first token of the reply
    weights = None if weight == 1 else np.full(len(ids), weight, dtype=np.float32)
    return Example(
        ids[: context.length],
        targets[: context.length],
        weights,
        weight,
        encoder_ids=np.asarray(source, dtype=np.int32),
    )
