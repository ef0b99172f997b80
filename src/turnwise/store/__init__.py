"""Remembers conversations.

The folder is the registry: `NAME.py` with an `open_url` function serves URLs that begin with `NAME:`.
"""

import pkgutil
from importlib import import_module
from typing import Protocol, cast

from turnwise.core.errors import InvalidParameter, did_you_mean
from turnwise.core.ports import ConversationStore


class _Backend(Protocol):
    def open_url(self, url: str) -> ConversationStore: ...


def open_store(url: str) -> ConversationStore:
    """Open the store that `url` names, creating it where it does not exist yet.

    Args:
        url: `sqlite:///PATH` (relative; four slashes make it absolute) or `sqlite:///:memory:`.

    Raises:
        InvalidParameter: no backend serves this scheme, or the URL names no path.
        UserError: what lies there is not a conversation store, or one of a newer Turnwise.
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
    """Every module of this folder that can open a URL, by name."""
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    modules = {name: import_module(f"{__name__}.{name}") for name in names}
    return {name: cast("_Backend", module) for name, module in modules.items() if hasattr(module, "open_url")}
