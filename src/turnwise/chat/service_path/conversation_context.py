"""What the store knows of the conversation of a request: messages, hand-off and state, for its tenant only."""

from dataclasses import dataclass

from turnwise.chat.service_path.branch_state import branch_state
from turnwise.chat.service_path.conversation_state import ConversationState
from turnwise.chat.service_path.handoff_watch import HandoffWatch
from turnwise.chat.service_path.stored_branch import MergedBranch, merge_branch
from turnwise.core.chat_request import ChatRequest
from turnwise.core.executors import STORE_READ_EXECUTOR, STORE_WRITE_EXECUTOR
from turnwise.core.handoffs import Handoff
from turnwise.core.stored_conversations import ConversationStore


@dataclass(frozen=True, slots=True)
class ConversationContext:
    """A conversation at the beginning of a request.

    Attributes:
        branch: messages to store, and messages that the model may see.
        watch: tells whether a hand-off opens meanwhile.
        handoff: the newest hand-off, if there ever was one.
        state: what is remembered on this branch; None if the conversation is not stored or has no state yet.
        is_claimed: whether the conversation belongs to the tenant already.
    """

    branch: MergedBranch
    watch: HandoffWatch
    handoff: Handoff | None = None
    state: ConversationState | None = None
    is_claimed: bool = False

    @property
    def is_handed_off(self) -> bool:
        """True while a hand-off is open."""
        return self.handoff is not None and self.handoff.is_open


async def open_context(
    store: ConversationStore | None, request: ChatRequest, notices: tuple[str, ...]
) -> ConversationContext:
    """Read the conversation. Raises `NotFound` if there is none, or if it belongs to another tenant."""
    id, tenant = request.conversation_id, request.scheduling.tenant
    watch = HandoffWatch(store, id, tenant)
    if store is None or id is None:
        return ConversationContext(merge_branch((), request.messages, notices), watch)
    values = await STORE_READ_EXECUTOR.run(store.states.load, id, tenant)
    handoff = await STORE_READ_EXECUTOR.run(store.handoffs.current, id, tenant)
    conversation = await STORE_READ_EXECUTOR.run(store.get, id)
    # Only a hand-off adds messages that the client may not know.
    branch = merge_branch(() if handoff is None else conversation.messages, request.messages, notices)
    return ConversationContext(branch, watch, handoff, branch_state(conversation, branch.stored), bool(values))


async def claim_conversation(store: ConversationStore, id: str, tenant: str) -> None:
    """Make a conversation one of the tenant. Raises `NotFound` if it belongs to another one."""
    await STORE_WRITE_EXECUTOR.run(store.states.save, id, tenant, {"is_claimed": True})
