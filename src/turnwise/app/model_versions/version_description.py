"""Versions as JSON values, for `turnwise models versions`, `show` and `history`."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from turnwise.app.model_versions.version_library import VersionLibrary
from turnwise.core.errors import UserError
from turnwise.core.model_versions import ModelVersion, VersionEvent
from turnwise.core.version_comparison import headline_figures


def summarize(version: ModelVersion, last_event: VersionEvent) -> dict[str, Any]:
    """A version in a list.

    Args:
        version: the version.
        last_event: its last event.
    """
    content = version.content
    return {
        "version": version.reference,
        "state": version.state,
        "share": version.share,
        "is_erased": version.is_erased,
        "created": iso_time(version.created),
        "parent": content.parent,
        "has_passed_gate": content.has_passed_gate if content.scorecard else None,
        "contributors": len(content.contributors),
        "figures": headline_figures(content.scorecard),
        "changed": iso_time(last_event.time),
        "actor": last_event.actor,
        "reason": last_event.reason,
    }


def describe_version(library: VersionLibrary, version: ModelVersion) -> dict[str, Any]:
    """Everything that is recorded of a version, and whether its weights are those of the record."""
    content = version.content
    events = [event for event in library.registry.events(content.model) if event.version == version.number]
    try:
        path, error = str(library.verified_folder(version)), None
    except UserError as problem:
        path, error = None, str(problem)
    return {
        **summarize(version, events[-1]),
        "contributors": list(content.contributors),
        "source": content.source,
        "path": path,
        "error": error,
        "weights_sha256": content.weights_sha256,
        "data_sha256": dict(content.data_sha256),
        "scorecard": dict(content.scorecard),
        "recipe": content.recipe,
        "history": [describe_event(event) for event in events],
    }


def describe_event(event: VersionEvent) -> dict[str, Any]:
    """An event, with its time in ISO 8601."""
    return asdict(event) | {"time": iso_time(event.time)}


def iso_time(seconds: float) -> str:
    """Unix seconds as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
