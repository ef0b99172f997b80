"""What a pass reads: the next token of every chat that has been read, its draft, and parts of what has not."""

from collections.abc import Sequence
from typing import NamedTuple

from turnwise.engine.batch import BatchEntry
from turnwise.engine.scheduling.scheduler_queues import SchedulerQueues
from turnwise.engine.sequence import SequenceGroup, TokenSequence
from turnwise.engine.speculation.draft_proposer import NO_DRAFT

READ_ALONE = 512  # prompt tokens in a pass; bounds its memory
READ_BESIDE = 128  # as many while others wait for their next token


class ScheduledChunk(NamedTuple):
    """What is read of a line in a pass.

    Attributes:
        chat: whose it is.
        line: the line.
        span: what is read: tokens it has, and a draft after the last of them.
        last: whether that brings the chat its next token.
        next: whether it had only that one to read.
    """

    chat: SequenceGroup
    line: TokenSequence
    span: BatchEntry
    last: bool
    next: bool


def plan(seats: SchedulerQueues) -> list[ScheduledChunk]:
    """What the next pass reads. The more urgent take memory from the less urgent where there is too little."""
    seats.current = None
    rows = _rows(seats)
    parts: list[ScheduledChunk] = []
    for chat in seats.in_order():
        if chat not in seats.running:
            continue  # it had to give way to one before it
        seats.current = chat
        for line, count in rows.get(chat, ()):
            if not _make_room(seats, chat, line, count):
                break
            parts.append(_part(chat, line, count))
    return [part for part in parts if part.chat in seats.running]


def _rows(seats: SchedulerQueues) -> dict[SequenceGroup, list[tuple[TokenSequence, int]]]:
    """How many tokens of which lines are read. One of each that has been read; of the others a part."""
    rows = {chat: [(line, 1) for line in chat.lines] for chat in seats.running if not chat.is_prefilling}
    budget = READ_BESIDE if rows else READ_ALONE
    readers = [chat for chat in seats.in_order() if chat.is_prefilling]
    lines = [_unread(seats, chat) for chat in readers]
    # The last token of several lines is read by all of them together, in a later pass.
    left = [line.num_uncached_tokens - (len(chat.lines) > 1) for chat, line in zip(readers, lines, strict=True)]
    for chat, line, count in zip(readers, lines, split_token_budget(left, budget), strict=True):
        if count:
            rows[chat] = [(line, count)]
    return rows


def _unread(seats: SchedulerQueues, chat: SequenceGroup) -> TokenSequence:
    """The line of a chat that is read next; one after the other, for what the first has read the next may share."""
    seats.current = chat
    line = next(line for line in chat.lines if line.num_uncached_tokens > 1)
    if line.table is None:
        line.table = seats.memory.open(chat.request.scope, line.ids)
    return line


def split_token_budget(left: Sequence[int], budget: int) -> list[int]:
    """How much each may read, who has so much left: half for the first, half for whoever has least left.

    So a short prompt does not wait for a long one, nor a long one for ever.
    """
    if not left:
        return []
    found = [min(left[0], budget // 2)] + [0] * (len(left) - 1)
    budget -= found[0]
    for number in [*sorted(range(1, len(left)), key=left.__getitem__), 0]:
        more = min(left[number] - found[number], budget)
        found[number] += more
        budget -= more
    return found


def _make_room(seats: SchedulerQueues, chat: SequenceGroup, line: TokenSequence, count: int) -> bool:
    """Memory for so many more tokens of a line; False where its chat itself had to give way."""
    memory = seats.memory
    assert line.table is not None, "it has a seat"
    draft = len(line.draft.ids)
    if draft and memory.reserve(line.table, line.table.length + count + draft):
        return True
    line.draft = NO_DRAFT  # nobody gives way to a guess
    while not memory.reserve(line.table, line.table.length + count):
        victim = seats.in_order()[-1]
        seats.preempt(victim)
        if victim is chat:
            return False
    return True


def _part(chat: SequenceGroup, line: TokenSequence, count: int) -> ScheduledChunk:
    assert line.table is not None, "there is room"
    start, draft = line.table.length, line.draft.ids
    ids = line.ids[start : start + count]
    last = start + len(ids) == len(line.ids)
    wanted = int(last)
    if chat.needs_prompt_outputs:  # the logits after the last token that need not be told, and after all that follow
        wanted = min(len(ids), max(0, start + len(ids) - chat.max_prefix_match + 1))
    if draft:
        ids = [*ids, *draft]
    request = chat.request
    span = BatchEntry(
        line.table.blocks, start, ids, wanted + len(draft), request.encoder_ids, request.scope, request.adapter
    )
    return ScheduledChunk(chat, line, span, last, next=last and count == 1)
