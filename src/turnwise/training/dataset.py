"""From a recipe's data section to examples in memory and rows in order."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation
from turnwise.data.batches import Batch, Example, collate
from turnwise.data.packing import pack
from turnwise.data.sources import Document, read_source
from turnwise.text.render import Renderer
from turnwise.training.objectives import Objective
from turnwise.training.recipe import DataSource, Recipe

Item = Conversation | Document


@dataclass(frozen=True)
class Dataset:
    """Examples of one split and how to batch them.

    Attributes:
        examples: cut to the row length.
        row_length: tokens in a row.
        pad_id: fills the rest of a row.
    """

    examples: Sequence[Example]
    row_length: int
    pad_id: int

    def rows(self, *, seed: int) -> list[list[int]]:
        """Packed rows of example indices for one epoch."""
        return pack([len(example.ids) for example in self.examples], self.row_length, seed=seed)

    def batch(self, rows: Sequence[Sequence[int]]) -> Batch:
        """Lay these rows out."""
        return collate([[self.examples[i] for i in row] for row in rows], pad_id=self.pad_id)

    def batches(self, size: int) -> Iterator[Batch]:
        """All of it once, in a fixed order (validation)."""
        rows = self.rows(seed=0)
        for start in range(0, len(rows), size):
            yield self.batch(rows[start : start + size])

    @property
    def tokens(self) -> int:
        """Tokens in all."""
        return sum(len(example.ids) for example in self.examples)


@dataclass(frozen=True)
class Datasets:
    """The three splits; `valid` and `test` may be empty."""

    train: Dataset
    valid: Dataset
    test: Dataset


def load_datasets(
    recipe: Recipe, renderer: Renderer, objective: Objective, on_item: Callable[[], None] = lambda: None
) -> Datasets:
    """Read, render and cut all data of a recipe; `on_item` is called for every conversation read.

    Raises:
        InvalidData: a bad row (unless the recipe skips them), or nothing left to learn from.
    """
    length, pad = recipe.training.row_length, renderer.tokenizer.pad_id

    def examples(items: Iterator[Item]) -> Iterator[Example]:
        for item in items:
            on_item()
            for example in objective.encode(item, renderer):
                yield from example.windows(length)

    def split(
        sources: Sequence[DataSource], keep: Callable[[Item], bool] = lambda _: True, once: bool = True
    ) -> Dataset:
        found: list[Example] = []
        for source in sources:
            items = read_source(Path(source.path), skip_bad=recipe.data.skip_bad)
            part = list(examples(item for item in islice(items, source.limit) if keep(item)))
            found.extend(part if once else part * source.repeat)
        return Dataset(found, length, pad)

    fraction = 0.0 if recipe.data.valid else recipe.data.valid_fraction
    train = split(recipe.data.train, lambda item: _side(item, recipe.training.seed) >= fraction, once=False)
    if not train.examples:
        raise InvalidData(
            f"{recipe.data.train[0].path} holds nothing to learn from: no conversation with an assistant turn."
        )
    if recipe.data.valid:
        valid = split(recipe.data.valid)
    else:
        valid = split(recipe.data.train, lambda item: _side(item, recipe.training.seed) < fraction)
    return Datasets(train, valid, split(recipe.data.test))


def _side(item: Item, seed: int) -> float:
    """A number in [0, 1) that depends on the content alone, so a conversation stays on its side as files grow."""
    text = item.text if isinstance(item, Document) else "\n".join(message.content for message in item.messages)
    digest = hashlib.sha256(f"{seed}\n{text}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
