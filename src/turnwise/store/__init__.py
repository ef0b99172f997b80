"""Stores conversations, completions, responses and API keys.

Each backend is a module or package of this folder with an `open_url` function. Its name is the scheme of its URLs.
"""

import pkgutil
from importlib import import_module
from typing import Protocol, cast

from turnwise.core.errors import InvalidParameter, did_you_mean
from turnwise.core.stored_conversations import ConversationStore


class _Backend(Protocol):
    def open_url(self, url: str) -> ConversationStore: ...


def open_store(url: str) -> ConversationStore:
    """Open the store at `url`. A missing store is created.

    Args:
        url: `sqlite:///PATH` (relative; four slashes make it absolute) or `sqlite:///:memory:`.

    Raises:
        InvalidParameter: there is no backend for the scheme, or the URL has no path.
        UserError: the file is not a conversation store, or was written by a newer version of Turnwise.
    """
    backends = _backends()
    scheme, separator, _ = url.partition("://")
    if separator and scheme in backends:
        return backends[scheme].open_url(url)
    hint = did_you_mean(scheme, backends) if separator else f"known: {', '.join(sorted(backends))}"
    raise InvalidParameter(
        "store", f"No store answers to '{url[:100]}': a URL such as sqlite:///PATH is needed; {hint}."
    )


def _backends() -> dict[str, _Backend]:
    """The backends of this folder, by name."""
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    modules = {name: import_module(f"{__name__}.{name}") for name in names}
    return {name: cast("_Backend", module) for name, module in modules.items() if hasattr(module, "open_url")}
