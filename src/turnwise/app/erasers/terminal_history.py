"""The lines that were typed in `turnwise chat`. They belong to the person at this machine."""

from collections.abc import Mapping
from typing import Any

from turnwise.core.data_subjects import DataSubject
from turnwise.core.settings import Settings
from turnwise.core.stored_conversations import ConversationStore

ORDER = 20
HISTORY = "history"  # in TURNWISE_HOME


def export(subject: DataSubject, store: ConversationStore) -> Any:  # noqa: ARG001
    """The lines."""
    path = Settings.from_environment().home / HISTORY
    if subject != DataSubject(None) or not path.is_file():
        return []
    return [line[1:] for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line[:1] == "+"]


def erase(subject: DataSubject, store: ConversationStore) -> Mapping[str, int]:  # noqa: ARG001
    """Delete the file."""
    if subject == DataSubject(None):
        (Settings.from_environment().home / HISTORY).unlink(missing_ok=True)
    return {}
