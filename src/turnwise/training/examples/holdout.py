"""Split of a recipe's dialogues into training and held-out data."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from turnwise.core.errors import InvalidData
from turnwise.core.exchanges import last_reply
from turnwise.core.messages import Conversation
from turnwise.data.annotations.annotated import Annotated, LabeledText, TaggedSentence
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
    data, fraction = recipe.data, 0.0 if recipe.data.valid else recipe.data.valid_fraction
    splits: dict[str, list[Annotated]] = {"valid": [], "test": []}
    for name, sources in (("valid", data.valid or (data.train if fraction else [])), ("test", data.test)):
        for source in sources:
            # Join sentences as training does where it holds out texts: the split hashes the joined text.
            is_joined = name == "valid" and bool(fraction)
            rows = open_items(source, recipe.objective, skip_bad_rows=data.skip_bad_rows, is_joined=is_joined).rows()
            for _, item in islice(rows, source.max_items):
                assert isinstance(item, LabeledText | TaggedSentence)
                if data.valid or name == "test" or split_position(item, recipe.training.seed) < fraction:
                    splits[name].append(item)
    return {name: items for name, items in splits.items() if items}


def training_annotations(recipe: Recipe) -> list[Annotated]:
    """Return the annotated texts that training uses; errors as for `held_out_annotations`."""
    fraction = 0.0 if recipe.data.valid else recipe.data.valid_fraction
    items: list[Annotated] = []
    for source in recipe.data.train:
        rows = open_items(source, recipe.objective, skip_bad_rows=recipe.data.skip_bad_rows).rows()
        for _, item in islice(rows, source.max_items):
            assert isinstance(item, LabeledText | TaggedSentence)
            if not fraction or split_position(item, recipe.training.seed) >= fraction:
                items.append(item)
    return items


def _read_items(source: SourceConfig, recipe: Recipe) -> Iterator[Record]:
    data = open_source(source, skip_bad_rows=recipe.data.skip_bad_rows)
    for _, item in islice(data.rows(), source.max_items):
        yield item


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
