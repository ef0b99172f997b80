"""A recipe's folders with sides: the train side is learned from, the others are validated and tested on."""

from pathlib import Path

from turnwise.core.errors import InvalidData
from turnwise.data.sources import DataSource, ReadOptions, find_split_files
from turnwise.training.recipe import Recipe, SourceConfig


def open_source(source: SourceConfig, *, skip_bad: bool = False) -> DataSource:
    """The rows that a recipe names."""
    options = ReadOptions(source.format, source.encoding, source.columns, source.roles, source.me)
    return DataSource(Path(source.path).expanduser(), skip_bad=skip_bad, side=source.side, options=options)


def with_splits(recipe: Recipe) -> Recipe:
    """The recipe with the side of every folder that has some: train for `data.train`, and so on.

    What the recipe leaves open is taken from the folders that are learned from: their valid and test sides.

    Raises:
        InvalidData: a folder to learn from has sides, and none to learn from.
    """
    data = recipe.data
    found = {
        source.path: find_split_files(Path(source.path).expanduser()) for source in data.train if source.side is None
    }
    for path, there in found.items():
        if there and "train" not in there:
            raise InvalidData(
                f"{path} has the sides {' and '.join(sorted(there))} and no train side. Name the file to learn from."
            )
    changes = {"train": [_of_side(source, "train") for source in data.train]}
    for name in ("valid", "test"):
        named = getattr(data, name)
        sources = named or [
            source.model_copy(update={"side": name, "repeat": 1.0, "weight": None, "limit": None})
            for source in data.train
            if name in found.get(source.path, {})
        ]
        changes[name] = [_of_side(source, name) for source in sources]
    return recipe.model_copy(update={"data": data.model_copy(update=changes)})


def _of_side(source: SourceConfig, name: str) -> SourceConfig:
    has_side = source.side is None and name in find_split_files(Path(source.path).expanduser())
    return source.model_copy(update={"side": name}) if has_side else source
