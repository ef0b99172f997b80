"""From a recipe's data section to examples in memory and rows in order."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from turnwise.core.errors import InvalidData, UserError
from turnwise.core.messages import Conversation
from turnwise.data.batches import Batch, Example, collate
from turnwise.data.fingerprint import near
from turnwise.data.packing import pack
from turnwise.data.sources import Item, Source
from turnwise.text.render import Renderer
from turnwise.training.objectives import Objective
from turnwise.training.recipe import DataSource, Recipe
from turnwise.training.samples import SAMPLES, last_reply


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
    """The three splits; `valid` and `test` may be empty.

    Attributes:
        samples: a few held-out dialogues to answer before and after.
        skipped: bad rows that were left out.
    """

    train: Dataset
    valid: Dataset
    test: Dataset
    samples: Sequence[Conversation] = ()
    skipped: int = 0

    @property
    def fingerprint(self) -> str:
        """Changes when what is learned from or validated on does."""
        digest = hashlib.blake2b(digest_size=16)
        for split in (self.train, self.valid):
            for example in split.examples:
                digest.update(example.ids.tobytes() + example.counts.tobytes() + b"|")
            digest.update(b"||")
        return digest.hexdigest()


def load_datasets(
    recipe: Recipe, renderer: Renderer, objective: Objective, on_item: Callable[[], None] = lambda: None
) -> Datasets:
    """Read, render and cut all data of a recipe; `on_item` is called for every conversation read.

    Raises:
        InvalidData: a row that cannot be used (unless the recipe skips them), or nothing left to learn from.
    """
    reader = _Reader(recipe, renderer, objective, on_item)
    train: list[Example] = []
    held_out: list[tuple[Item, list[Example]]] = []
    fraction = 0.0 if recipe.data.valid else recipe.data.valid_fraction
    for source in recipe.data.train:
        kept: list[Example] = []
        for item, examples in reader.read([source]):
            if _side(item, recipe.training.seed) < fraction:
                held_out.append((item, examples))
            else:
                kept.extend(examples)
        train.extend(kept * source.repeat)
    held_out.extend(reader.read(recipe.data.valid))
    test = list(reader.read(recipe.data.test))
    valid_examples = [example for _, examples in held_out for example in examples]
    if not train:
        raise InvalidData(_nothing_left(recipe, held_out=bool(valid_examples) and not recipe.data.valid))

    def dataset(examples: list[Example]) -> Dataset:
        return Dataset(examples, recipe.training.row_length, renderer.tokenizer.pad_id)

    answerable = (item for item, _ in [*held_out, *test] if isinstance(item, Conversation) and last_reply(item))
    return Datasets(
        dataset(train),
        dataset(valid_examples),
        dataset([example for _, examples in test for example in examples]),
        samples=tuple(islice(answerable, SAMPLES)),
        skipped=reader.skipped,
    )


@dataclass
class _Reader:
    """Reads sources into examples and counts the rows it had to leave out."""

    recipe: Recipe
    renderer: Renderer
    objective: Objective
    on_item: Callable[[], None]
    skipped: int = 0

    def read(self, sources: Iterable[DataSource]) -> Iterator[tuple[Item, list[Example]]]:
        """Every item and its examples, cut to the row length."""
        for wanted in sources:
            source = Source(Path(wanted.path).expanduser(), skip_bad=self.recipe.data.skip_bad)
            for place, item in islice(source.rows(), wanted.limit):
                self.on_item()
                try:
                    examples = self._examples(item)
                except UserError as error:
                    if not self.recipe.data.skip_bad:
                        raise InvalidData(f"{place}: {error}") from error
                    self.skipped += 1
                else:
                    yield item, examples
            self.skipped += source.bad_count

    def _examples(self, item: Item) -> list[Example]:
        length = self.recipe.training.row_length
        return [piece for example in self.objective.encode(item, self.renderer) for piece in example.windows(length)]


def _nothing_left(recipe: Recipe, *, held_out: bool) -> str:
    paths = ", ".join(source.path for source in recipe.data.train)
    if held_out:
        return (
            f"All of {paths} was held out for validation, so nothing is left to learn from. Add dialogues, name "
            "validation data of its own, or set 'data.valid_fraction' to 0."
        )
    lacking = "no conversation with an assistant turn" if recipe.objective == "sft" else "no text"
    return f"{paths} holds nothing to learn from: {lacking}."


def _side(item: Item, seed: int) -> float:
    """A number in [0, 1) that depends on the content alone, so a conversation stays on its side as files grow.

    Conversations that differ in case or punctuation only are on the same side.
    """
    digest = hashlib.sha256(f"{seed}\n{near(item)}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
