"""What the store knows of the conversation of a request: messages, hand-off and state, for its tenant only."""

from dataclasses import dataclass, field

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
        watch: tells whether a hand-off opens meanwhile.
        handoff: the newest hand-off, if there ever was one.
        state: what is remembered; None if the conversation is not stored or has no state yet.
    """

    branch: MergedBranch
    watch: HandoffWatch
    handoff: Handoff | None = None
    state: ConversationState | None = None
    notices: tuple[str, ...] = field(default=())

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
    # Only a hand-off adds messages that the client may not know.
    messages = () if handoff is None else (await STORE_READ_EXECUTOR.run(store.get, id)).messages
    state = ConversationState.from_dict(values) if values else None
    return ConversationContext(merge_branch(messages, request.messages, notices), watch, handoff, state)
