"""The state of the service path on a branch of a stored conversation.

The state is stored with the answer that it follows. An edited message or a regenerated answer begins another branch,
which has the state of the last answer that both branches share.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from turnwise.chat.service_path.conversation_state import ConversationState
from turnwise.core.messages import Message
from turnwise.core.stored_conversations import StoredConversation
from turnwise.core.stored_messages import StoredMessage

STATE_META = "service_state"  # key in the `meta` of a stored answer


def state_meta(state: ConversationState) -> Mapping[str, object]:
    """Metadata of an answer that hold the state after it."""
    return {STATE_META: state.as_dict()}


def branch_state(conversation: StoredConversation, messages: Sequence[Message]) -> ConversationState | None:
    """The state after the last stored answer of a branch; None if no answer of it has one.

    Args:
        conversation: the conversation with its tree.
        messages: the branch; messages at its end may not be stored yet.
    """
    entry: StoredMessage | None = _deepest_match(conversation, messages)
    by_id = {stored.id: stored for stored in conversation.tree}
    while entry is not None:
        if STATE_META in entry.meta:
            return ConversationState.from_dict(entry.meta[STATE_META])
        entry = None if entry.parent_id is None else by_id[entry.parent_id]
    return None


def _deepest_match(conversation: StoredConversation, messages: Sequence[Message]) -> StoredMessage | None:
    """The last message of the longest stored prefix, as the store chooses it: the current branch, then the newest."""
    children: defaultdict[str | None, list[StoredMessage]] = defaultdict(list)
    for stored in conversation.tree:
        children[stored.parent_id].append(stored)
    level: list[StoredMessage] = []
    parents: list[str | None] = [None]
    for message in messages:
        matches = [stored for parent in parents for stored in children[parent] if stored.message == message]
        if not matches:
            break
        level, parents = matches, [stored.id for stored in matches]
    current = {stored.id for stored in conversation.messages}
    return next((stored for stored in level if stored.id in current), level[-1] if level else None)
