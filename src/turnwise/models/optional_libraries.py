"""Imports of optional dependencies, with an error that names the extra to install."""

from importlib import import_module
from types import ModuleType

from turnwise.core.errors import UserError


def import_transformers(subject: str) -> ModuleType:
    """Import transformers. Raises `UserError` if it is not installed; `subject` is what needs it."""
    return _import("transformers", "transformers", subject)


def import_peft(subject: str) -> ModuleType:
    """Import PEFT. Raises `UserError` if it is not installed; `subject` is what needs it."""
    return _import("peft", "adapters", subject)


def _import(name: str, extra: str, subject: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError:
        raise UserError(f"{subject} needs {name}: pip install 'turnwise[{extra}]'") from None
