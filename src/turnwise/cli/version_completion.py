"""Shell completion of model versions."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turnwise.core.model_versions import ModelRegistry


def complete_versioned_model(incomplete: str) -> list[str]:
    """Names of models that have versions."""
    with _registry() as registry:
        return [] if registry is None else [name for name in registry.models() if name.startswith(incomplete)]


def complete_version(incomplete: str) -> list[str]:
    """References to versions, such as NAME@3."""
    with _registry() as registry:
        if registry is None:
            return []
        references = [version.reference for model in registry.models() for version in registry.list(model)]
        return [reference for reference in references if reference.startswith(incomplete)]


@contextmanager
def _registry() -> "Iterator[ModelRegistry | None]":
    """The registry; None if there is none yet or it cannot be opened. Completion creates no file."""
    from turnwise.core.errors import TurnwiseError
    from turnwise.core.settings import Settings
    from turnwise.store import open_model_registry

    settings = Settings.from_environment()
    try:
        exists = (settings.home / "versions.db").is_file()
        registry = open_model_registry(settings.registry_url) if exists else None
    except (OSError, TurnwiseError):
        registry = None
    try:
        yield registry
    finally:
        if registry is not None:
            registry.close()
