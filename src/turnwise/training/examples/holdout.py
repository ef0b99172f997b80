"""Split of a recipe's dialogues into training and held-out data."""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from turnwise.core.errors import InvalidData
from turnwise.core.exchanges import last_reply
from turnwise.core.messages import Conversation
from turnwise.data.annotations.annotated import Annotated, LabeledText, TaggedSentence, join_sentences
from turnwise.data.fingerprint import near_duplicate_key
from turnwise.data.rows import Document, Record
from turnwise.training.examples.recipe_sources import open_items, open_source
from turnwise.training.hooks import TrainerHook
from turnwise.training.objective import Item
from turnwise.training.recipe import Recipe
from turnwise.training.recipe_sections import SourceConfig


def read_dialogues(recipe: Recipe, hooks: Sequence[TrainerHook] = ()) -> tuple[list[Conversation], list[Conversation]]:
    """Read the dialogues with a reply, for methods that need messages instead of token examples.

    Args:
        recipe: names the data.
        hooks: receive every row.

    Returns:
        Training and validation dialogues.

    Raises:
        InvalidData: a bad row (unless the recipe skips bad rows), or no validation dialogue.
    """
    train: list[Conversation] = []
    valid: list[Conversation] = []
    fraction = 0.0 if recipe.data.valid else recipe.data.valid_fraction
    for is_valid, sources in ((False, recipe.data.train), (True, recipe.data.valid)):
        for source in sources:
            for item in _read_items(source, recipe):
                for hook in hooks:
                    hook.on_row()
                if isinstance(item, Conversation) and any(message.role == "assistant" for message in item.messages):
                    held_out = is_valid or (bool(fraction) and split_position(item, recipe.training.seed) < fraction)
                    (valid if held_out else train).append(item)
    if not valid:
        raise InvalidData(
            "Prompts are compared on validation dialogues, and there are none: set 'data.valid' or add more data."
        )
    return train, valid


def held_out_dialogues(
    recipe: Recipe, limit: int, is_usable: Callable[[Conversation], bool] = lambda _: True
) -> list[Conversation]:
    """Return up to `limit` usable dialogues that training does not use: test data, else validation data."""
    sources = recipe.data.test or recipe.data.valid
    fraction = 0.0 if sources else recipe.data.valid_fraction

    def dialogues() -> Iterator[Conversation]:
        for source in sources or recipe.data.train:
            for item in _read_items(source, recipe):
                held_out = bool(sources) or (bool(fraction) and split_position(item, recipe.training.seed) < fraction)
                if held_out and isinstance(item, Conversation) and last_reply(item) and is_usable(item):
                    yield item

    return list(islice(dialogues(), limit))


def held_out_annotations(recipe: Recipe) -> dict[str, list[Annotated]]:
    """Return the annotated texts that training does not use, by split ("valid", "test"); empty splits are left out.

    Raises:
        InvalidData: a bad row, unless the recipe skips bad rows.
    """
    data = recipe.data
    is_split = not data.valid and data.valid_fraction > 0
    splits: dict[str, list[Annotated]] = {"valid": [], "test": []}
    for name, sources in (("valid", data.train if is_split else data.valid), ("test", data.test)):
        for source in sources:
            # Join sentences as training does where it holds out texts: the split hashes the joined text.
            is_joined = name == "valid" and is_split
            holdout = Holdout(recipe, source) if is_joined else None
            rows = open_items(source, recipe.objective, skip_bad_rows=data.skip_bad_rows, is_joined=is_joined).rows()
            for _, item in islice(rows, source.max_items):
                assert isinstance(item, LabeledText | TaggedSentence)
                if holdout is None or holdout.is_held_out(item):
                    splits[name].append(item)
    return {name: items for name, items in splits.items() if items}


def training_annotations(recipe: Recipe) -> list[Annotated]:
    """Return the annotated texts that training uses; errors as for `held_out_annotations`."""
    items: list[Annotated] = []
    for source in recipe.data.train:
        holdout = Holdout(recipe, source)
        rows = open_items(source, recipe.objective, skip_bad_rows=recipe.data.skip_bad_rows).rows()
        for _, item in islice(rows, source.max_items):
            assert isinstance(item, LabeledText | TaggedSentence)
            if not holdout.is_held_out(item):
                items.append(item)
    return items


def _read_items(source: SourceConfig, recipe: Recipe) -> Iterator[Record]:
    data = open_source(source, skip_bad_rows=recipe.data.skip_bad_rows)
    for _, item in islice(data.rows(), source.max_items):
        yield item


class Holdout:
    """Decides which items of a training source are held out for validation; none if the recipe has validation data.

    Sentences and windows of a document are held out together, because a document repeats its names and phrases. This
    applies to files with several documents of several sentences (`document_positions`).

    Args:
        recipe: the share to hold out, the seed and the objective.
        source: the source; it is read if sentences may belong to documents.

    Raises `InvalidData` for a bad row, unless the recipe skips bad rows.
    """

    def __init__(self, recipe: Recipe, source: SourceConfig) -> None:
        self._fraction = 0.0 if recipe.data.valid else recipe.data.valid_fraction
        self._seed = recipe.training.seed
        self._positions: Mapping[int, float] = {}
        if self._fraction and recipe.objective.READS_ANNOTATIONS == "tags":
            source_rows = open_items(source, recipe.objective, skip_bad_rows=recipe.data.skip_bad_rows).rows()
            rows = [
                (location.file, item)
                for location, item in islice(source_rows, source.max_items)
                if isinstance(item, TaggedSentence)
            ]
            self._positions = document_positions(rows, self._seed)

    def is_held_out(self, item: Item) -> bool:
        """True if the item is held out."""
        if not self._fraction:
            return False
        position = self._positions.get(item.document) if isinstance(item, TaggedSentence) else None
        return (split_position(item, self._seed) if position is None else position) < self._fraction


def document_positions(rows: Sequence[tuple[Path, TaggedSentence]], seed: int) -> dict[int, float]:
    """The split position (`split_position`) of every document, by number.

    The lowest position becomes 0 and the highest the largest number below 1, so that also of few documents at least one
    is held out and one is trained on. Documents of a file without further documents, and those of a file in which every
    sentence is a document, are left out: their sentences are split one by one.

    Args:
        rows: the sentences or windows of a source with their files.
        seed: of the split.
    """
    documents: dict[Path, dict[int, list[TaggedSentence]]] = {}
    for path, sentence in rows:
        documents.setdefault(path, {}).setdefault(sentence.document, []).append(sentence)
    positions = {
        number: split_position(join_sentences(sentences), seed)
        for sentences_by_document in documents.values()
        if 1 < len(sentences_by_document) < sum(map(len, sentences_by_document.values()))
        for number, sentences in sentences_by_document.items()
    }
    lowest, highest = min(positions.values(), default=0.0), max(positions.values(), default=0.0)
    if lowest == highest:  # no documents, or copies of one
        return positions
    extremes = {lowest: 0.0, highest: math.nextafter(1, 0)}
    return {number: extremes.get(position, position) for number, position in positions.items()}


def split_position(item: Item, seed: int) -> float:
    """Hash an item to [0, 1); items below the held-out fraction are held out.

    The value depends only on the content and the seed, so an item keeps its split when the file grows. Items that
    differ only in case or punctuation get the same value.
    """
    digest = hashlib.sha256(f"{seed}\n{near_duplicate_key(as_record(item))}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def as_record(item: Item) -> Record:
    """The text of an annotated text as a document; other items unchanged."""
    if isinstance(item, LabeledText):
        return Document(item.text)
    return Document(" ".join(item.tokens)) if isinstance(item, TaggedSentence) else item
