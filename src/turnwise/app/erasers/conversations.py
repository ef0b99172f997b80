"""Conversations with their hand-offs, stored completions, responses and feedback."""

from collections.abc import Mapping
from typing import Any

from turnwise.core.data_subjects import DataSubject
from turnwise.core.stored_conversations import ConversationStore

ORDER = 1000  # last, so that other erasers can read the texts


def export(subject: DataSubject, store: ConversationStore) -> Any:
    """All records of a subject, by kind."""
    return store.personal_data.export(subject)


def erase(subject: DataSubject, store: ConversationStore) -> Mapping[str, int]:
    """Delete all records of a subject. The file is rewritten even if there are none, for a run that was interrupted."""
    counts = store.personal_data.erase(subject)
    store.personal_data.remove_traces()
    return counts
