"""Stores conversations, completions, responses, API keys, model versions, evaluation results, knowledge, the monitor.

Each backend is a module or package of this folder, or an entry point of another package. Its name is the scheme of its
URLs.
"""

from typing import Protocol

from turnwise.core.api_keys import KeyStore
from turnwise.core.errors import InvalidParameter, did_you_mean
from turnwise.core.key_usage import KeyUsageStore
from turnwise.core.knowledge import KnowledgeStore
from turnwise.core.model_versions import ModelRegistry
from turnwise.core.monitor_store import MonitorReader, MonitorStore
from turnwise.core.plugins import PluginGroup
from turnwise.core.response_cache import ResponseCache
from turnwise.core.stored_conversations import ConversationStore


class StoreBackend(Protocol):
    """Interface of a backend."""

    def open_conversations(self, url: str) -> ConversationStore:
        """Open the conversations at a URL; see `open_store`."""

    def open_keys(self, url: str) -> KeyStore:
        """Open the API keys at a URL; see `open_key_store`."""

    def open_key_usage(self, url: str) -> KeyUsageStore:
        """Open the usage of the API keys at a URL. Optional: a backend without it stores no usage."""

    def open_response_cache(self, url: str) -> ResponseCache:
        """Open the response cache at a URL."""

    def open_monitor(self, url: str) -> MonitorStore:
        """Open the text monitor at a URL. Optional: a backend without it stores no monitor."""

    def open_monitor_reader(self, url: str) -> MonitorReader:
        """Open the text monitor at a URL for reading, while another process may write it. Optional like the above."""

    def open_knowledge(self, url: str) -> KnowledgeStore:
        """Open the knowledge base at a URL. Optional: a backend without it stores no knowledge."""

    def open_model_registry(self, url: str) -> ModelRegistry:
        """Open the registry of model versions at a URL. Optional: a backend without it stores no versions."""


STORE_BACKENDS: PluginGroup[StoreBackend] = PluginGroup(
    "store",
    "store_backends",
    (__name__, __path__),
    requires=("open_conversations", "open_keys", "open_response_cache"),
    parameter="store",
)


def open_store(url: str) -> ConversationStore:
    """Open the conversations at `url`. A missing store is created.

    Args:
        url: `sqlite:///PATH` (relative; four slashes make it absolute) or `sqlite:///:memory:`.

    Raises:
        InvalidParameter: there is no backend for the scheme, or the URL has no path.
        UserError: the file is not a conversation store, or was written by a newer version of Turnwise.
    """
    return _find_backend(url).open_conversations(url)


def open_key_store(url: str) -> KeyStore:
    """Open the API keys at `url`, for example `sqlite:///PATH`. Raises `InvalidParameter` for a URL without backend."""
    return _find_backend(url).open_keys(url)


def open_key_usage(url: str) -> KeyUsageStore | None:
    """Open the usage of the API keys at `url`, the URL of the keys; None if its backend stores no usage.

    Raises `InvalidParameter` for a URL without backend.
    """
    backend = _find_backend(url)
    return backend.open_key_usage(url) if hasattr(backend, "open_key_usage") else None


def open_response_cache(url: str) -> ResponseCache:
    """Open the response cache at `url`. Raises as `open_key_store` does, and `UserError` if it cannot be used."""
    return _find_backend(url).open_response_cache(url)


def open_monitor_store(url: str) -> MonitorStore:
    """Open the text monitor at `url`. A missing store is created.

    Raises:
        InvalidParameter: there is no backend for the scheme, it stores no monitor, or the URL has no path.
        UserError: the file is not a store, or was written by a newer version of Turnwise.
    """
    return _find_backend(url, "open_monitor", "the text monitor").open_monitor(url)


def open_monitor_reader(url: str) -> MonitorReader:
    """Open the text monitor at `url` for reading. Another process may write it.

    Raises:
        InvalidParameter: there is no backend for the scheme, it stores no monitor, or the URL has no path.
        NotFound: there is no store.
        UserError: the file is no store of this version of Turnwise, or cannot be read.
    """
    return _find_backend(url, "open_monitor_reader", "the text monitor").open_monitor_reader(url)


def open_knowledge_store(url: str) -> KnowledgeStore:
    """Open the knowledge base at `url`. A missing one is created.

    Raises:
        InvalidParameter: there is no backend for the scheme, it stores no knowledge, or the URL has no path.
        UserError: the file is not a store, or was written by a newer version of Turnwise.
    """
    return _find_backend(url, "open_knowledge", "knowledge").open_knowledge(url)


def open_model_registry(url: str) -> ModelRegistry:
    """Open the registry of model versions at `url`. A missing one is created.

    Raises:
        InvalidParameter: there is no backend for the scheme, it stores no versions, or the URL has no path.
        UserError: the file is not a store, or was written by a newer version of Turnwise.
    """
    return _find_backend(url, "open_model_registry", "model versions").open_model_registry(url)


def _find_backend(url: str, optional: str | None = None, content: str = "") -> StoreBackend:
    """The backend of a URL, which has the optional method of this name, to store `content`."""
    scheme, separator, _ = url.partition("://")
    names = STORE_BACKENDS.names()
    if not separator:
        raise InvalidParameter("store", f"'{url[:100]}' is not a store. Use sqlite:///PATH or none.")
    if scheme not in names:
        raise InvalidParameter("store", f"'{url[:100]}' has an unknown scheme; {did_you_mean(scheme, names)}")
    backend = STORE_BACKENDS.load(scheme)
    if optional is not None and not hasattr(backend, optional):
        raise InvalidParameter("store", f"'{url[:100]}' cannot store {content}. Use sqlite:///PATH.")
    return backend
