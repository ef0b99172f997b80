"""What the store knows of the conversation of a request: messages, hand-off and state, for its principal only."""

from dataclasses import dataclass

from turnwise.chat.service_path.branch_state import branch_state
from turnwise.chat.service_path.conversation_state import ConversationState
from turnwise.chat.service_path.handoff_watch import HandoffWatch
from turnwise.chat.service_path.stored_branch import MergedBranch, merge_branch
from turnwise.core.chat_request import ChatRequest
from turnwise.core.executors import STORE_READ_EXECUTOR
from turnwise.core.handoffs import Handoff
from turnwise.core.stored_conversations import ConversationStore


@dataclass(frozen=True, slots=True)
class ConversationContext:
    """A conversation at the beginning of a request.

    Attributes:
        branch: messages to store, and messages that the model may see.
        store: the store as the principal of the request sees it; None if nothing is stored.
        watch: tells whether a hand-off opens meanwhile.
        handoff: the newest hand-off, if there ever was one.
        state: what is remembered on this branch; None if the conversation is not stored or has no state yet.
    """

    branch: MergedBranch
    store: ConversationStore | None
    watch: HandoffWatch
    handoff: Handoff | None = None
    state: ConversationState | None = None

    @property
    def is_handed_off(self) -> bool:
        """True while a hand-off is open."""
        return self.handoff is not None and self.handoff.is_open


async def open_context(
    store: ConversationStore | None, request: ChatRequest, notices: tuple[str, ...]
) -> ConversationContext:
    """Read the conversation. Raises `NotFound` if there is none, or if the principal cannot reach it."""
    id, store = request.conversation_id, None if store is None else store.for_principal(request.principal)
    watch = HandoffWatch(store, id)
    if store is None or id is None:
        return ConversationContext(merge_branch((), request.messages, notices), store, watch)
    handoff = await STORE_READ_EXECUTOR.run(store.handoffs.current, id)
    conversation = await STORE_READ_EXECUTOR.run(store.get, id)
    # Only a hand-off adds messages that the client may not know.
    branch = merge_branch(() if handoff is None else conversation.messages, request.messages, notices)
    return ConversationContext(branch, store, watch, handoff, branch_state(conversation, branch.stored))
