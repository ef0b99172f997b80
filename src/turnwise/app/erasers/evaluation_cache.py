"""The cache of evaluations. Its entries do not say whose texts they are made from, so all of them are deleted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from turnwise.app.evaluation_cache import open_response_cache
from turnwise.core.data_subjects import DataSubject
from turnwise.core.settings import Settings
from turnwise.core.stored_conversations import ConversationStore

ORDER = 10


def export(subject: DataSubject, store: ConversationStore) -> Any:  # noqa: ARG001
    """Nothing: the entries are answers to texts that are exported elsewhere."""
    return {}


def erase(subject: DataSubject, store: ConversationStore) -> Mapping[str, int]:  # noqa: ARG001
    """Empty the cache. The next evaluation computes its answers again."""
    url = Settings.from_environment().evaluations_url
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).expanduser().exists():
        return {}
    with open_response_cache(is_persistent=True) as cache:
        cache.clear()
    return {}
