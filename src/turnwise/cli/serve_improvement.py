"""The page `/improve` of `turnwise serve`."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turnwise.core.improvement_reports import ImprovementReader
    from turnwise.core.stored_conversations import ConversationStore


def open_improvement(conversations: "ConversationStore | None") -> "ImprovementReader":
    """The cycles of this TURNWISE_HOME, with the feedback of a store."""
    from turnwise.improve.cycle_reader import CycleReader

    return CycleReader(None if conversations is None else conversations.collected_answers)
