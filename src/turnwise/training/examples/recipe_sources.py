"""Data sources of a recipe, and the splits of folders with train, valid and test files."""

from itertools import islice
from pathlib import Path

from turnwise.core.errors import InvalidData
from turnwise.data.data_files import find_split_files
from turnwise.data.read_options import ReadOptions
from turnwise.data.sources import DataSource
from turnwise.training.examples.annotated_rows import AnnotatedRows
from turnwise.training.objective import Objective
from turnwise.training.recipe import Recipe
from turnwise.training.recipe_sections import SourceConfig


def open_source(source: SourceConfig, *, skip_bad_rows: bool = False) -> DataSource:
    """Open the files of a recipe's source."""
    options = ReadOptions(source.format, source.encoding, source.columns, source.roles, source.assistant_name)
    return DataSource(Path(source.path).expanduser(), skip_bad_rows=skip_bad_rows, split=source.split, options=options)


def open_items(
    source: SourceConfig, objective: Objective, *, skip_bad_rows: bool = False, is_joined: bool = True
) -> DataSource | AnnotatedRows:
    """Open a recipe's source as the items that the objective trains on: dialogues, or texts with labels or tags.

    Args:
        source: the source.
        objective: says what to read.
        skip_bad_rows: skip bad rows instead of stopping at the first one.
        is_joined: join neighbouring sentences if the objective takes them as one.
    """
    if objective.READS_ANNOTATIONS:
        return AnnotatedRows(
            source,
            objective.READS_ANNOTATIONS,
            skip_bad_rows=skip_bad_rows,
            context_words=objective.num_context_words,
            window_words=objective.num_window_words if is_joined else 0,
        )
    return open_source(source, skip_bad_rows=skip_bad_rows)


def with_labels(recipe: Recipe) -> Recipe:
    """Return the recipe with the labels of the training data, for objectives that need them.

    Raises:
        InvalidData: the data have no labels, or a row is bad.
    """
    if not recipe.objective.READS_ANNOTATIONS:
        return recipe
    items = [
        item
        for source in recipe.data.train
        for _, item in islice(
            open_items(source, recipe.objective, skip_bad_rows=recipe.data.skip_bad_rows).rows(), source.max_items
        )
    ]
    return recipe.model_copy(update={"objective": recipe.objective.fit_labels(items)})


def with_splits(recipe: Recipe) -> Recipe:
    """Return the recipe with a split for every source whose folder has splits.

    `data.train` uses the train split. Without `data.valid` or `data.test`, the valid and test splits of the training
    folders are used.

    Raises:
        InvalidData: a training folder has splits, but no train split.
    """
    data = recipe.data
    splits = {
        source.path: find_split_files(Path(source.path).expanduser()) for source in data.train if source.split is None
    }
    for path, names in splits.items():
        if names and "train" not in names:
            raise InvalidData(
                f"{path} has the splits {' and '.join(sorted(names))} and no train split. Name the file to train on."
            )
    changes = {"train": [_with_split(source, "train") for source in data.train]}
    for name in ("valid", "test"):
        sources = getattr(data, name) or [
            source.model_copy(update={"split": name, "repeat": 1.0, "weight": None, "max_items": None})
            for source in data.train
            if name in splits.get(source.path, {})
        ]
        changes[name] = [_with_split(source, name) for source in sources]
    return recipe.model_copy(update={"data": data.model_copy(update=changes)})


def _with_split(source: SourceConfig, name: str) -> SourceConfig:
    has_split = source.split is None and name in find_split_files(Path(source.path).expanduser())
    return source.model_copy(update={"split": name}) if has_split else source
