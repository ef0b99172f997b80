"""Perplexity of the assistant turns of dialogues, per token and per byte.

The direct way, by torch and in batches: what scores through the engine are checked against, and what benchmarks of
training measure weights with that are not served. Tokens depend on the tokenizer, bytes do not: compare models with
different tokenizers per byte only.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from torch_reference.cross_entropy import summed_cross_entropy
from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation
from turnwise.models.decoder import Decoder
from turnwise.text.rendering.rendered_conversation import RenderedConversation
from turnwise.text.rendering.renderer import Renderer
from turnwise.training.examples.batches import collate
from turnwise.training.examples.example import Example

ROWS = 8  # dialogues in a batch


@dataclass(frozen=True, slots=True)
class Perplexity:
    """Summed cross-entropy in nats over the tokens that are the assistant's to say, and what it was summed over."""

    nats: float
    tokens: int
    bytes: int

    @property
    def per_token(self) -> float:
        """exp of the mean per token."""
        return _exp(self.nats / self.tokens)

    @property
    def per_byte(self) -> float:
        """exp of the mean per byte of the replies (UTF-8)."""
        return _exp(self.nats / self.bytes)

    @property
    def bits_per_byte(self) -> float:
        """The same as information."""
        return self.nats / self.bytes / math.log(2)


def _exp(nats: float) -> float:
    """Without overflow for hopeless models."""
    return math.exp(min(nats, 700.0))


@torch.inference_mode()
def measure_perplexity(
    model: Decoder,
    renderer: Renderer,
    conversations: Sequence[Conversation],
    on_done: Callable[[int], None] = lambda _: None,
) -> Perplexity:
    """Perplexity of all assistant turns, rendered exactly as in training and serving.

    A dialogue longer than the context is judged on the replies that fit whole. `on_done` is called with the number of
    dialogues done.

    Raises:
        InvalidData: no assistant turn in any of them.
    """
    device, limit = model.embed.weight.device, model.config.context_length
    examples: list[Example] = []
    size = 0
    for conversation in conversations:
        example, num_bytes = beginning(
            renderer.render(conversation.messages, tools=conversation.tools), conversation, limit
        )
        if num_bytes:
            examples.append(example)
            size += num_bytes
    if not examples:
        raise InvalidData("There is nothing to evaluate: no conversation has an assistant turn.")
    examples.sort(key=lambda example: len(example.ids))
    nats, tokens = 0.0, 0.0
    for start in range(0, len(examples), ROWS):
        rows = examples[start : start + ROWS]
        batch = collate([[row] for row in rows], pad_id=renderer.tokenizer.pad_token_id).to(device)
        nats += summed_cross_entropy(model, batch.ids_BT, batch.targets_BT).item()
        tokens += batch.target_weight
        on_done(start + len(rows))
    return Perplexity(nats, int(tokens), size)


def beginning(rendered: RenderedConversation, conversation: Conversation, limit: int) -> tuple[Example, int]:
    """What fits into `limit` tokens, and the bytes of the replies in it; a reply that is cut off does not count."""
    ids, mask = (
        np.asarray(rendered.ids[:limit], dtype=np.int32),
        np.asarray(rendered.assistant_mask[:limit], dtype=bool),
    )
    num_bytes = 0
    for message, span in zip(conversation.messages, rendered.spans, strict=True):
        if span is None or message.role != "assistant":
            continue
        if span[1] > limit:
            mask[span[0] :] = False
            break
        num_bytes += len(message.full_text.encode())
    return Example.causal(ids, mask), num_bytes
