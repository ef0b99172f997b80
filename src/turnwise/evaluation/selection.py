"""Response selection, R@1/N: does the model find the true reply likelier than N − 1 others?

The distractors are seeded replies from other dialogues; half of them share the dialogue's intent where the data names
one, because replies to other questions are easily told apart (Lowe et al. 2015 use random ones only).
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation, Message
from turnwise.data.batches import IGNORED
from turnwise.models.decoder import Decoder
from turnwise.models.loss import row_cross_entropy
from turnwise.text.render import Renderer


@dataclass(frozen=True, slots=True)
class Selection:
    """How often the true reply was ranked first among `candidates`."""

    right: int
    asked: int
    candidates: int

    @property
    def recall_at_1(self) -> float:
        """R@1."""
        return self.right / self.asked


@dataclass(frozen=True, slots=True)
class Question:
    """A dialogue up to a reply, and replies of which the first is the true one."""

    history: tuple[Message, ...]
    replies: tuple[str, ...]


def questions(conversations: Sequence[Conversation], *, candidates: int = 20, seed: int = 0) -> list[Question]:
    """One question per conversation, at its last assistant turn.

    Raises:
        InvalidData: too few different replies to choose distractors from.
    """
    found = [parts for conversation in conversations if (parts := _last_reply(conversation)) is not None]
    pool = sorted({reply for _, reply, _ in found})
    if len(pool) < candidates:
        raise InvalidData(f"Response selection needs {candidates} different replies, the data has {len(pool)}.")
    by_intent: dict[str, set[str]] = {}
    for _, reply, intent in found:
        by_intent.setdefault(intent, set()).add(reply)
    rng = random.Random(seed)
    asked = []
    for history, reply, intent in found:
        near = sorted(by_intent[intent] - {reply}) if intent else []
        chosen = rng.sample(near, min(len(near), (candidates - 1) // 2))
        taken = {reply, *chosen}
        while len(chosen) < candidates - 1:
            other = rng.choice(pool)
            if other not in taken:
                chosen.append(other)
                taken.add(other)
        asked.append(Question(history, (reply, *chosen)))
    return asked


def _last_reply(conversation: Conversation) -> tuple[tuple[Message, ...], str, str] | None:
    for i in reversed(range(1, len(conversation.messages))):
        message = conversation.messages[i]
        if message.role == "assistant" and message.content.strip():
            return conversation.messages[:i], message.content, str(conversation.meta.get("intent") or "")
    return None


@torch.inference_mode()
def measure_selection(
    model: Decoder,
    renderer: Renderer,
    asked: Sequence[Question],
    on_done: Callable[[int], None] = lambda _: None,
) -> Selection:
    """Rank replies by their mean log-probability per token given the dialogue; ties count as wrong."""
    right = 0
    for done, question in enumerate(asked, 1):
        losses = _losses(model, renderer, question)
        right += losses[0] < min(losses[1:])
        on_done(done)
    return Selection(right, len(asked), len(asked[0].replies))


def _losses(model: Decoder, renderer: Renderer, question: Question) -> list[float]:
    device, limit = model.embed.weight.device, model.config.context_length
    rows: list[tuple[list[int], list[int]]] = []
    for reply in question.replies:
        rendered = renderer.render((*question.history, Message("assistant", reply)))
        span = rendered.spans[-1]
        assert span is not None, "a reply has content"
        # What does not fit is cut from the front: the reply and what it answers stand at the end.
        cut = max(0, len(rendered.ids) - limit)
        ids = rendered.ids[cut:]
        counted = [at + cut >= span[0] and rendered.loss_mask[at + cut] for at in range(len(ids))]
        targets = [ids[at + 1] if counted[at + 1] else IGNORED for at in range(len(ids) - 1)]
        rows.append((ids[:-1], targets))
    longest = max(len(ids) for ids, _ in rows)
    pad = renderer.tokenizer.pad_id
    ids_BT = torch.tensor([ids + [pad] * (longest - len(ids)) for ids, _ in rows], device=device)
    targets_BT = torch.tensor([row + [IGNORED] * (longest - len(row)) for _, row in rows], device=device)
    losses: list[float] = row_cross_entropy(model, ids_BT, targets_BT).tolist()
    return losses
