"""Compares two versions: settings of the recipes, training files and figures of the evaluations."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from turnwise.core.model_versions import ModelVersion

HEADLINE = "headline"  # key of a scorecard: the figures that a list of versions shows
MAX_HEADLINE_FIGURES = 3
_ABSENT = "(absent)"


def compare_versions(first: ModelVersion, second: ModelVersion) -> dict[str, dict[str, tuple[Any, Any]]]:
    """Values that differ between two versions, as pairs by name; a value that a version lacks is None.

    Returns:
        "recipe": settings, such as "training.learning_rate". "data": digests of training files. "figures": numbers of
        the scorecards. "other": parent and number of contributors.
    """
    sides = (first.content, second.content)
    recipes = [dict(flatten(yaml.safe_load(side.recipe) or {})) for side in sides]
    for recipe in recipes:
        recipe.pop("out", None)  # the folder of the run, which does not matter
    return {
        "recipe": _differences(*recipes),
        "data": _differences(*(side.data_sha256 for side in sides)),
        "figures": _differences(*(figures(side.scorecard) for side in sides)),
        "other": _differences(*({"parent": side.parent, "contributors": len(side.contributors)} for side in sides)),
    }


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings and lists, with their paths: ("data.train.0.path", "talks.jsonl")."""
    if isinstance(value, Mapping) and value:
        for key, entry in value.items():
            yield from flatten(entry, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple) and value:
        for i, entry in enumerate(value):
            yield from flatten(entry, f"{path}.{i}")
    elif path:
        yield path, value


def figures(scorecard: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a scorecard, by path, in their order."""
    return {
        path: value
        for path, value in flatten(scorecard)
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def headline_figures(scorecard: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a scorecard for a list: those under "headline", else the first numbers."""
    headline = scorecard.get(HEADLINE)
    numbers = figures(headline if isinstance(headline, Mapping) else scorecard)
    return dict(list(numbers.items())[:MAX_HEADLINE_FIGURES])


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = [*first, *(name for name in second if name not in first)]
    return {
        name: (first.get(name), second.get(name))
        for name in names
        if first.get(name, _ABSENT) != second.get(name, _ABSENT)
    }
