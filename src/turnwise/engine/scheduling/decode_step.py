"""One token after the other: the likeliest, or one drawn by the request's rules.

A draft (Leviathan et al. 2023) is checked in the same pass that brings the next token. The chat draws its token as it
would without a draft; where the draft had foreseen it, the logits after it are there already, and it draws again. So
the answer is the same with and without drafts, to the last token, whether it is drawn or not.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import Tensor

from turnwise.core.ports import FinishReason, TokenEvent
from turnwise.engine.sampling.sampler import GENERATION_FAILED, SamplerOutput, choose
from turnwise.engine.sequence import SequenceGroup

log = logging.getLogger(__name__)


def advance(
    ready: Sequence[SequenceGroup], rows: Sequence[int], logits_RV: Tensor
) -> Iterator[tuple[SequenceGroup, TokenEvent]]:
    """Bring chats one token further, or several where their drafts hold; what happened, in order.

    Args:
        ready: the chats.
        rows: where in the logits the row after each chat's last token is; those after its draft follow.
        logits_RV: R rows, V vocabulary. Changed.
    """
    going, num_accepted = list(zip(ready, rows, strict=True)), 0
    while going:
        at = [row + num_accepted for _, row in going]
        logits_BV = logits_RV if len(at) == len(logits_RV) else logits_RV[at]
        choices = choose(
            logits_BV, [chat.draw for chat, _ in going], [chat.line.logits_processors for chat, _ in going]
        )
        further = []
        for (chat, row), choice in zip(going, choices, strict=True):
            event = _take(chat, choice)
            draft = chat.line.draft
            if num_accepted < len(draft.ids):
                if event.finish_reason is None and choice.token == draft.ids[num_accepted]:
                    _accept(chat)
                    further.append((chat, row))
                elif draft.predicted:
                    left = len(draft.ids) - num_accepted
                    chat.stats = replace(
                        chat.stats, rejected_prediction_tokens=chat.stats.rejected_prediction_tokens + left
                    )
            yield chat, event
        going, num_accepted = further, num_accepted + 1


def _take(chat: SequenceGroup, choice: SamplerOutput) -> TokenEvent:
    """Append a token to a chat's line."""
    if choice.error is not None:
        return TokenEvent(None, "error", choice.error, is_client_error=choice.is_client_error)
    if choice.token in chat.request.stop_ids:
        return TokenEvent(None, "stop", logprobs=choice.logprobs, stop_id=choice.token)
    line = chat.line
    line.ids.append(choice.token)
    finish: FinishReason | None = None
    try:
        line.logits_processors.accept(choice.token)
        is_complete = line.logits_processors.is_complete
    except BaseException:
        log.exception("a processor or constraint of a chat failed")
        return TokenEvent(None, "error", GENERATION_FAILED)
    if is_complete:
        finish = "stop"
    elif chat.num_generated_tokens >= chat.request.max_tokens:
        finish = "length"
    return TokenEvent(choice.token, finish, logprobs=choice.logprobs, stats=chat.stats)


def _accept(chat: SequenceGroup) -> None:
    """The token that was just taken is in the cache."""
    table = chat.line.table
    assert table is not None, "it was just read"
    table.length += 1
    chat.line.num_accepted += 1
    if chat.line.draft.predicted:
        chat.stats = replace(chat.stats, accepted_prediction_tokens=chat.stats.accepted_prediction_tokens + 1)
